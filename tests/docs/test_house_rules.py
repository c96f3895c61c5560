"""Rules of the house that no other tool holds. Complexity, formats and types are ruff's and mypy's."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT

PACKAGE = ROOT / "src" / "power_loop"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 50

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, Function))


def lines_of(function: Function) -> int:
    """Lines of a function without its docstring."""
    whole = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        whole -= (first.end_lineno or 0) - first.lineno + 1
    return whole


@pytest.fixture(scope="module", params=MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def module(request):
    return request.param


def test_files_are_short(module):
    assert len(module.read_text().splitlines()) < LONGEST_FILE


def test_functions_are_short(module):
    assert {f.name: lines_of(f) for f in functions(module) if lines_of(f) >= LONGEST_FUNCTION} == {}


def test_our_own_modules_are_imported_at_the_top(module):
    """A floor that is crossed inside a function is a floor on paper."""
    lazy = [
        ast.unparse(node)
        for function in functions(module)
        for node in ast.walk(function)
        if (isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("power_loop")))
        or (isinstance(node, ast.Import) and any(name.name.startswith("power_loop") for name in node.names))
    ]
    assert lazy == []


def test_every_exception_to_a_lint_rule_has_its_reason(module):
    for number, line in enumerate(module.read_text().splitlines(), 1):
        if "# noqa" in line:
            codes = line.split("# noqa:", 1)[1] if "# noqa:" in line else ""
            assert codes, f"{module.name}:{number}: name the rule"


def test_the_linter_knows_all_rules_and_the_bound_on_complexity():
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert lint["select"] == ["ALL"]
    assert lint["mccabe"]["max-complexity"] == 10


def test_the_loop_fits_on_a_screen_and_names_no_hook():
    loop = (PACKAGE / "engine" / "loop.py").read_text()
    assert len(loop.splitlines()) <= 40
    assert "hook" not in loop.lower()
    assert not [node for node in ast.walk(ast.parse(loop)) if isinstance(node, ast.If | ast.Try)]
