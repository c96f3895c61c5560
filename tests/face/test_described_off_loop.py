"""A model's first description may load data for a fifth of a second: verbs have it made in a thread, once."""

import threading

import pytest

from power_loop import ConfigError, StatefulAgentLoop, image
from power_loop.ports.models import ModelInfo
from power_loop.testing import ScriptedLLM

PNG = b"\x89PNG\r\n\x1a\n not much of a picture"


class Described(ScriptedLLM):
    """Keeps in which threads it was described."""

    def __init__(self, *lines, **settings) -> None:
        super().__init__(*lines, **settings)
        self.threads: list[int] = []
        self.broken = False

    def describe(self, _model=None) -> ModelInfo:
        self.threads.append(threading.get_ident())
        if self.broken:
            raise ConfigError("This description cannot work.")
        return ModelInfo()

    @property
    def elsewhere(self) -> int:
        return sum(thread != threading.get_ident() for thread in self.threads)


@pytest.mark.parametrize("verb", ["send", "resume", "abort_pending"])
async def test_the_first_description_is_made_in_a_thread_and_later_ones_cost_none(tmp_path, verb):
    path = str(tmp_path / "sessions.db")
    first = StatefulAgentLoop(llm=ScriptedLLM("Yes."), db_path=path)
    session = (await first.send("Well?")).session_id
    await first.close()
    llm = Described("Yes.", repeat=True)
    async with StatefulAgentLoop(llm=llm, db_path=path) as loop:
        await (loop.send(["Look:", image(PNG)], session) if verb == "send" else getattr(loop, verb)(session))
        assert llm.threads[0] != threading.get_ident()
        await loop.send("And now?", session)
        assert llm.elsewhere == 1


async def test_a_description_that_cannot_work_is_told_before_anything_is_written(store):
    llm = Described("Yes.")
    llm.broken = True
    loop = StatefulAgentLoop(llm=llm, store=store)
    for _ in range(2):
        with pytest.raises(ConfigError, match="cannot work"):
            await loop.send("Well?")
    assert await loop.list_sessions() == []
    llm.broken = False
    assert (await loop.send("Well?")).status == "completed"
