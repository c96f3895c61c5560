"""SystemPromptBuilder: which sections a system prompt has, and in what order."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.errors import ConfigError
from power_loop.prompt.environment import read_git
from power_loop.prompt.instructions import Instructions, discover_instructions
from power_loop.prompt.sections import BUILTIN_SECTIONS, Renderer, SystemPromptContext, ToolSource, definitions_of

logger = logging.getLogger("power_loop")


class SystemPromptBuilder:
    """Named sections in order. Every method that changes it returns it, so calls can be chained.

    ``use_defaults=False`` begins without sections. Same sections and same context: same bytes.
    """

    def __init__(self, *, use_defaults: bool = True) -> None:
        self._sections: dict[str, Renderer] = dict(BUILTIN_SECTIONS) if use_defaults else {}
        self._context = SystemPromptContext()
        self._root: str | Path | None = None

    def section_names(self) -> list[str]:
        """Return the names of the sections, in order."""
        return list(self._sections)

    def use(self, *names: str) -> Self:
        """Keep only these sections, in the order they have. Raises ConfigError for one that is not there."""
        self._known(*names)
        self._sections = {name: self._sections[name] for name in self._sections if name in names}
        return self

    def add(self, name: str, renderer: Renderer | str, *, before: str | None = None, after: str | None = None) -> Self:
        """Add a section, at the end or next to another one; a name that is there already is replaced.

        ``renderer`` is text, or a function of the context; a section that renders to nothing is left out. Without
        ``before`` and ``after``, a replaced section keeps its place. Raises ConfigError where both are given, or
        the neighbour is not there.
        """
        if before is not None and after is not None:
            raise ConfigError(f"Section {name!r}: give before or after, not both.")
        render = renderer if callable(renderer) else _constant(renderer)
        neighbour = before if before is not None else after
        if neighbour is None:
            self._sections[name] = render
            return self
        self._known(neighbour)
        if neighbour == name:
            raise ConfigError(f"Section {name!r} cannot stand next to itself.")
        rest = [(key, value) for key, value in self._sections.items() if key != name]
        place = [key for key, _ in rest].index(neighbour) + (after is not None)
        self._sections = dict([*rest[:place], (name, render), *rest[place:]])
        return self

    def remove(self, *names: str) -> Self:
        """Take sections out. Raises ConfigError for one that is not there."""
        self._known(*names)
        self._sections = {name: self._sections[name] for name in self._sections if name not in names}
        return self

    @property
    def workspace_dir(self) -> str | None:
        """The folder that :meth:`about` named."""
        return self._context.workspace_dir

    def about(self, context: SystemPromptContext, *, root: str | Path | None = None) -> Self:
        """Set what :meth:`render` speaks of; its ``tools`` are replaced by those really registered.

        Where the context names a ``workspace_dir`` and holds no instructions, AGENTS.md is looked for there and in
        each folder above it up to ``root``: by default the root of its Git working tree, else the folder itself.
        """
        self._context, self._root = context, root
        return self

    def render(self, tools: ToolSource) -> str:
        """Return the prompt for these tools. Reads a few files where AGENTS.md is to be looked for.

        What is wrong with an instruction file is logged. Raises ConfigError where the folder does not lie beneath
        the root.
        """
        context = msgspec.structs.replace(self._context, tools=definitions_of(tools))
        if context.workspace_dir and context.instructions is None and "project" in self._sections:
            context = msgspec.structs.replace(context, instructions=self._discovered(context.workspace_dir))
        return self.build(context)

    def _discovered(self, folder: str) -> Instructions:
        git = read_git(Path(folder).absolute()) if self._root is None else None
        root = self._root if self._root is not None else git.root if git else folder
        found = discover_instructions(Path(folder).absolute(), Path(root).absolute())
        for problem in found.problems:
            logger.warning("Instructions in %s: %s", problem.path, problem.message)
        return found

    def build(self, ctx: SystemPromptContext | None = None) -> str:
        """Return the sections that have something to say, and ``ctx.extra``, with blank lines between them."""
        ctx = ctx or SystemPromptContext()
        texts = [render(ctx).strip() for render in self._sections.values()] + [ctx.extra.strip()]
        parts = [text for text in texts if text]
        return jsontext.clean("\n\n".join(parts))[0] + "\n" if parts else ""

    def _known(self, *names: str) -> None:
        if unknown := [name for name in names if name not in self._sections]:
            there = ", ".join(self._sections) or "none"
            raise ConfigError(f"Unknown section(s): {', '.join(unknown)}. There are: {there}.")


def _constant(text: str) -> Callable[[SystemPromptContext], str]:
    return lambda _ctx: text
