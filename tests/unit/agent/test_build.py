"""build: the file that the install script leaves in the virtual environment."""

from pathlib import Path

from homeport_agent.build import this_build


def test_it_is_what_the_script_wrote_and_nothing_without(tmp_path: Path) -> None:
    assert this_build(tmp_path) == ""
    (tmp_path / "homeport-build").write_text("0123456789ab\n")
    assert this_build(tmp_path) == "0123456789ab"
