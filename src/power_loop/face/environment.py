"""The note with which a new session begins: where it works, as a collector of the host says."""

import inspect
from collections.abc import Awaitable, Callable

from power_loop.engine.threads import run_in_thread
from power_loop.face.config import EnvironmentCollector
from power_loop.facts import jsontext
from power_loop.facts.entries import Note
from power_loop.facts.errors import ConfigError
from power_loop.facts.messages import AgentMessage, MessageRole
from power_loop.prompt.environment import ENVIRONMENT, Environment

_Append = Callable[[AgentMessage], Awaitable[AgentMessage]]


async def environment_note(collect: EnvironmentCollector, append: _Append) -> Note:
    """Collect the facts and return the note, as ``append`` leaves it.

    Raises ConfigError for a collector that raises, or returns neither an Environment nor some text.
    """
    try:
        answer = await _answer(collect)
    except Exception as error:
        raise ConfigError(f"AgentLoopConfig.environment raised {type(error).__name__}: {error}") from error
    text = answer.render() if isinstance(answer, Environment) else answer
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"AgentLoopConfig.environment must return an Environment or some text, got {answer!r:.60}.")
    message = await append(AgentMessage(MessageRole.USER, jsontext.clean(text)[0]))
    return Note(ENVIRONMENT, message.text, message.role)


async def _answer(collect: EnvironmentCollector) -> Environment | str:
    answer = collect() if inspect.iscoroutinefunction(collect) else await run_in_thread(collect)
    if isinstance(answer, Awaitable):
        answer = await answer
    return answer
