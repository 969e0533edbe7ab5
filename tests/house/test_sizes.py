"""Modules stay small: at most 500 lines, with a docstring that says what each covers. Longer than 300 is only reported."""

import ast
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("agent", "controlplane", "cli", "client", "protos", "tests", "examples")
SPLIT_AT = 500
THINK_AT = 300


def modules() -> list[Path]:
    found = (path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return sorted(path for path in found if not path.stem.endswith(("_pb2", "_pb2_grpc")))


def test_no_module_is_longer_than_500_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules()}
    for name, length in lengths.items():
        if length > THINK_AT:
            warnings.warn(f"{name} has {length} lines: think about splitting it at {THINK_AT}", stacklevel=1)
    assert lengths, "no module was found: this test looks in the wrong folders"
    assert {name: length for name, length in lengths.items() if length > SPLIT_AT} == {}


def test_every_module_says_what_it_covers() -> None:
    # The twins in tests/unit say it by their names.
    silent = [
        str(path.relative_to(ROOT))
        for path in modules()
        if not path.is_relative_to(ROOT / "tests" / "unit")
        and path.read_text().strip()
        and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


OURS = ("agent/homeport_agent", "controlplane/homeport_control", "cli/homeport_cli", "client/homeport")


@pytest.mark.parametrize("room", OURS)
def test_every_relative_import_is_spelt_out(room: str) -> None:
    relative = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level > 0
    ]
    assert relative == []
