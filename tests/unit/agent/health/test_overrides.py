"""The owner's file of XID codes."""

from pathlib import Path

import pytest
from homeport_agent.gpus.model import Severity
from homeport_agent.health.overrides import BadTable, read
from homeport_agent.health.xids import BUILT_IN


def test_without_a_file_the_built_in_table_stands(tmp_path: Path) -> None:
    assert read(tmp_path / "xids.toml") is BUILT_IN


def test_a_row_of_the_file_replaces_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "xids.toml"
    path.write_text(
        '[63]\nseverity = "failing"\n[31]\nseverity = "none"\n[13]\naction = "call Ada"\n[9999]\naction = "?"\n'
    )
    table = read(path)
    assert table[63].severity is Severity.FAILING
    assert table[63].action == BUILT_IN[63].action
    assert (table[31].severity, table[31].often) == (None, None)
    assert (table[13].action, table[13].often) == ("call Ada", Severity.WARNING)
    assert table[9999].severity is Severity.WARNING
    assert table[79] == BUILT_IN[79]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[63", "xids.toml is wrong"),
        ('[nvlink]\nseverity = "failing"', "[nvlink] is no XID code"),
        ('[63]\nseverity = "bad"', "[63] severity is 'bad'; failing, warning or none"),
        ("[63]\nseverity = 3", "[63] severity must be one line of text"),
        ("[63]\nmood = 3", "[63] has 'mood'"),
        ("63 = 4", "63 must be a table"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "xids.toml"
    path.write_text(text)
    with pytest.raises(BadTable) as refused:
        read(path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "built-in one is used" in str(refused.value)


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(BadTable, match="cannot be read"):
        read(tmp_path)
