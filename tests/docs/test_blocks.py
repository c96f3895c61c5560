"""Every code block of README and docs does what it says."""

import asyncio
import doctest
import os
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from pages import NAMES, ROOT, Block, blocks

from power_loop.cli.parser import build_parser
from power_loop.testing.faulty_server import FaultyServer, text_reply, tool_reply

OURS = ("OPENAI_", "POWER_LOOP_", "NO_COLOR", "FORCE_COLOR")
TREATMENTS = ("file: ", "run", "output", "not run: ")


def script():
    """What the stand-in for a provider says to a block that names one."""
    dish = tool_reply(("call_dish", "lookup_dish", '{"city": "Lima"}'))
    return [dish, text_reply("Have ", "ceviche."), text_reply("Chicha morada.")]


def environment(server: FaultyServer) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    provider = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "key-of-the-stand-in"}
    return kept | provider | {"PATH": path, "PYTHONWARNINGS": "error", "COLUMNS": "120", "NO_COLOR": "1"}


async def execute(argv: list[str], folder: Path, where: str) -> str:
    async with FaultyServer(script()) as server:
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=folder, env=environment(server), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
    assert process.returncode == 0, f"{where} ended with {process.returncode}:\n{out.decode()}\n{err.decode()}"
    return out.decode()


class Page:
    """Treats the blocks of a page, in order."""

    def __init__(self, name: str, tmp_path: Path) -> None:
        self.name = name
        self.tmp_path = tmp_path
        self.folder = tmp_path / "page"
        self.folder.mkdir()
        self.printed = ""

    async def treat(self, number: int, block: Block) -> None:
        where = f"{self.name}:{block.line}"
        assert not block.note or block.note.startswith(TREATMENTS), f"{where}: unknown comment {block.note!r}"
        if block.note.startswith("not run: "):
            return
        if block.note.startswith("file: "):
            (self.folder / block.note.removeprefix("file: ")).write_text(block.text)
        elif block.note == "output":
            same = doctest.OutputChecker().check_output(block.text, self.printed, doctest.ELLIPSIS)
            assert same, f"{where}: the block above printed\n{self.printed}"
        elif block.note == "run":
            self.printed = await execute(["bash", "-c", block.text], self.folder, where)
        elif block.language == "python":
            folder = self.tmp_path / str(number)
            folder.mkdir()
            (folder / "block.py").write_text(block.text)
            self.printed = await execute([sys.executable, "block.py"], folder, where)
        elif block.language in {"bash", "sh", "console"}:
            check_shell(block, where)


def check_shell(block: Block, where: str) -> None:
    """Commands that are shown but not executed must at least exist."""
    text = re.sub(r"\\\n", " ", block.text)
    for line in text.splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words[:3] == ["python", "-m", "power_loop"]:
            words = ["power-loop", *words[3:]]
        match words:
            case ["power-loop", *arguments]:
                understood(arguments, f"{where}: {line}")
            case ["make", *targets]:
                names = [target for target in targets if "=" not in target]
                assert set(names) <= make_targets(), f"{where}: {line}"
            case ["pip", "install", *requirements]:
                assert extras_of(requirements) <= extras(), f"{where}: {line}"


def understood(arguments: list[str], where: str) -> None:
    end = next((place for place, word in enumerate(arguments) if word in {"|", ">", ">>", "&", "&&", ";"}), None)
    try:
        build_parser().parse_args(arguments[:end])
    except SystemExit:
        return  # --help and --version
    except Exception as error:
        raise AssertionError(f"{where}: {error}") from error


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def extras() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def extras_of(requirements: list[str]) -> set[str]:
    return {
        extra for text in requirements for group in re.findall(r"\[([a-z,]+)\]", text) for extra in group.split(",")
    }


@pytest.mark.parametrize("name", NAMES)
async def test_the_blocks_of_a_page(name, tmp_path):
    page = Page(name, tmp_path)
    for number, block in enumerate(blocks((ROOT / name).read_text())):
        await page.treat(number, block)


def test_a_block_is_recognised_with_its_comment():
    text = "words\n\n<!-- file: a.py -->\n```python\npass\n```\n\n```bash\nmake test\n```\n"
    assert blocks(text) == [Block(4, "python", "pass\n", "file: a.py"), Block(8, "bash", "make test\n", "")]


@pytest.mark.parametrize("line", ["power-loop fly", "make coffee", "pip install 'power-loop[wings]'"])
def test_a_command_that_does_not_exist_is_noticed(line):
    with pytest.raises(AssertionError):
        check_shell(Block(1, "bash", line, ""), "here")


async def test_a_block_that_fails_is_noticed(tmp_path):
    with pytest.raises(AssertionError, match="nothing of the kind"):
        await Page("page.md", tmp_path).treat(0, Block(1, "python", "raise ValueError('nothing of the kind')\n", ""))


async def test_output_that_is_no_longer_printed_is_noticed(tmp_path):
    page = Page("page.md", tmp_path)
    await page.treat(0, Block(1, "python", "print('seven')\n", ""))
    await page.treat(1, Block(5, "text", "s...n\n", "output"))
    with pytest.raises(AssertionError, match="seven"):
        await page.treat(1, Block(5, "text", "eight\n", "output"))
