"""What the pages say of names, codes, kinds and files is so."""

import re
from urllib.parse import unquote

import pytest
from pages import NAMES, ROOT, blocks, prose, table_rows

from power_loop import AgentEventType, AgentLoopConfig, HookDirective, HookPoint, LLMRetryPolicy
from power_loop.facts import errors, events
from power_loop.facts.entries import RunStatus
from power_loop.facts.journal import FACTS
from power_loop.ports import hooks

README = (ROOT / "README.md").read_text()


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def first_cells(text: str) -> set[str]:
    return {row[0].strip("`") for row in table_rows(text)}


# -- links


def anchors(text: str) -> set[str]:
    """Anchors as GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    here = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(here.read_text())):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        goal = (here.parent / path).resolve() if path else here
        assert goal.exists(), f"{name} links to {target}"
        if anchor and goal.suffix == ".md":
            assert anchor in anchors(goal.read_text()), f"{name} links to {target}"


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_named_exist(name):
    for path in re.findall(r"`((?:src|tests|examples|docs|benchmarks)/[\w./-]+)`", prose((ROOT / name).read_text())):
        assert (ROOT / path).exists(), f"{name} names {path}"


def test_every_page_is_reachable_from_the_index():
    reached, ahead = set(), [ROOT / "docs" / "index.md"]
    while ahead:
        here = ahead.pop()
        if here in reached or here.suffix != ".md":
            continue
        reached.add(here)
        for target in re.findall(r"\]\(([^)\s#]+)", here.read_text()):
            goal = (here.parent / target).resolve()
            if goal.is_relative_to(ROOT / "docs"):
                ahead.append(goal)
    assert set((ROOT / "docs").rglob("*.md")) <= reached


# -- README


def test_the_loop_is_quoted_as_it_is():
    loop = (ROOT / "src/power_loop/engine/loop.py").read_text()
    assert loop in [block.text for block in blocks(README) if block.language == "python"]


def test_code_comes_before_line_40():
    assert min(block.line for block in blocks(README) if block.language == "python") < 40


def test_readme_shows_both_commands():
    assert {"make demo", "make test"} <= set(README.splitlines())


# -- errors


def all_errors() -> set[tuple[str, str]]:
    """Every error class that a host can meet, with its code; signals between store and engine are not among them."""
    found = {
        thing
        for thing in vars(errors).values()
        if isinstance(thing, type)
        and issubclass(thing, errors.PowerLoopError)
        and not issubclass(thing, errors.AppendRefused)
    }
    return {(thing.__name__, thing.code) for thing in found}


def test_every_error_is_explained_with_its_code():
    rows = [row for row in table_rows(page("errors.md")) if re.fullmatch(r"`[A-Z]\w+`", row[0])]
    told = {(row[0].strip("`"), row[1].strip("`")) for row in rows}
    assert told == all_errors()
    assert all(len(row) == 4 and row[2] and row[3] for row in rows)


def test_the_tree_of_errors_is_the_real_one():
    tree = next(block.text for block in blocks(page("errors.md")) if block.text.startswith("PowerLoopError"))
    assert set(re.findall(r"\b[A-Z]\w+\b", re.sub(r"\(.*?\)", "", tree))) == {name for name, _ in all_errors()}
    parents: list[str] = []
    for line in tree.splitlines():
        name = re.search(r"\w+", line)
        if name is None:
            continue
        depth = name.start() // 4
        parents[depth:] = [name.group()]
        if depth:
            assert issubclass(getattr(errors, parents[depth]), getattr(errors, parents[depth - 1])), line


# -- hooks, events, statuses, kinds


def contexts() -> dict[HookPoint, type[hooks.BaseHookCtx]]:
    classes = (thing for thing in vars(hooks).values() if isinstance(thing, type))
    return {
        thing.point: thing
        for thing in classes
        if issubclass(thing, hooks.BaseHookCtx) and thing is not hooks.BaseHookCtx
    }


def test_every_hook_point_is_in_the_table_with_its_directives():
    rows = {
        row[0].strip("`"): row
        for row in table_rows(page("hooks-and-events.md"))
        if re.fullmatch(r"`[a-z]+\.[a-z.]+`", row[0])
    }
    assert set(rows) == {str(point) for point in HookPoint}
    for point, ctx in contexts().items():
        _, name, _, directives = rows[str(point)]
        assert name == f"`{ctx.__name__}`"
        named = {word for word in HookDirective.__members__ if re.search(rf"\b{word}\b", directives)}
        assert named == {directive.name for directive in ctx.honoured} - {"CONTINUE"}, point


def test_every_directive_is_explained():
    assert set(HookDirective.__members__) <= first_cells(page("hooks-and-events.md"))


def test_every_event_is_in_the_table_with_its_payload():
    rows = {row[0].strip("`"): row for row in table_rows(page("hooks-and-events.md"))}
    payloads = {name for name in events.__all__ if name.endswith("Payload")}
    for kind in AgentEventType:
        assert kind in rows, kind
    assert payloads - {"BaseEventPayload"} <= set(re.findall(r"\w+Payload", page("hooks-and-events.md")))


def test_every_kind_of_entry_is_in_the_glossary():
    assert set(FACTS) <= first_cells(page("concepts.md"))


def test_every_status_is_explained():
    assert {"empty", *RunStatus.__args__} <= first_cells(page("concepts.md"))


@pytest.mark.parametrize(
    "settings", [AgentLoopConfig(), LLMRetryPolicy()], ids=lambda settings: type(settings).__name__
)
def test_every_setting_is_in_the_table_with_its_default(settings):
    rest = page("settings.md").partition(f"## {type(settings).__name__}\n")[2].partition("\n## ")[0]
    told = {row[0].strip("`"): row[1].strip("`") for row in table_rows(rest) if row[0].startswith("`")}
    named = {"compactor": "DefaultCompactor()", "retry_on": "(Exception,)"}
    defaults = {name: repr(getattr(settings, name)) for name in settings.__struct_fields__}
    assert told == defaults | {name: text for name, text in named.items() if name in defaults}
