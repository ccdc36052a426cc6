"""The refusals of the house, where no linter has a rule for them."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "edge_runtime"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
DRAWERS = {"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc"}
TEXT_SUFFIXES = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
    ".json",
    ".sh",
    ".service",
    ".conf",
    ".csv",
    ".cfg",
    "",
}


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_FILE_LINES
    long = [
        (f.name, n)
        for f in functions(ast.parse(text))
        if (n := (f.end_lineno or 0) - f.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert not long


def test_nine_functions_in_ten_are_under_25_lines() -> None:
    sizes = [(f.end_lineno or 0) - f.lineno + 1 for p in MODULES for f in functions(ast.parse(p.read_text()))]
    assert sum(n < 25 for n in sizes) / len(sizes) >= 0.9


def test_no_drawer_modules() -> None:
    assert not [p for p in MODULES if p.stem in DRAWERS or p.parent.name in DRAWERS]


def test_the_environment_is_read_in_one_place() -> None:
    readers = {
        p.relative_to(PACKAGE).as_posix() for p in MODULES if re.search(r"os\.(environ\b|getenv)", p.read_text())
    }
    assert readers <= {"config.py", "config/environment.py"}


def tracked_text() -> Iterator[tuple[str, str]]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        path = ROOT / name
        if path.suffix in TEXT_SUFFIXES and path.is_file() and path.stat().st_size < 2_000_000:
            try:
                yield name, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def test_no_machine_path_is_committed() -> None:
    own = "tests/house/test_house_style.py"
    pattern = re.compile(r"(?<![\w.])/(work|root|home/\w+)/")
    assert not [name for name, text in tracked_text() if name != own and pattern.search(text)]


def test_public_modules_and_functions_say_what_they_do() -> None:
    silent = []
    for path in MODULES:
        tree = ast.parse(path.read_text())
        if tree.body and not ast.get_docstring(tree):
            silent.append(str(path.relative_to(ROOT)))
        silent += [
            f"{path.relative_to(ROOT)}:{node.name}"
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
            and (node.end_lineno or 0) - node.lineno > 8
        ]
    assert not silent
