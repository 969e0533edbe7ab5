import re
from pathlib import Path

import pytest
from homeport import manifest
from homeport_cli import starter
from homeport_cli.errors import CliError, UsageError
from homeport_control.spec.document import load_json, parse


def test_the_file_is_taken_as_it_is_and_with_every_line_switched_on(tmp_path: Path) -> None:
    file = starter.write(tmp_path / "my-app")
    text = file.read_text()
    switched_on = re.sub(r"^#(?! )", "", text, flags=re.MULTILINE)
    switched_on = re.sub(r"^#(  +\S)", r"\1", switched_on, flags=re.MULTILINE)
    for document in (text, switched_on):
        parsed = parse(load_json(manifest.parse(document, file).document_json), env={"HF_TOKEN": "x"})
        assert parsed.spec.name == "my-app"
    assert switched_on.count("\n#") < text.count("\n#")
    assert "gpu" in manifest.parse(switched_on, file).document_json


def test_a_file_that_is_there_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / starter.NAME).write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        starter.write(tmp_path)
    assert (tmp_path / starter.NAME).read_text() == "mine"


def test_a_place_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is no folder"):
        starter.write(tmp_path / "file")
    with pytest.raises(CliError, match="cannot write"):
        starter.write(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my-app", "my-app"),
        ("My App_2", "my-app-2"),
        ("123", "web"),
        ("42-things", "things"),
        ("", "web"),
        ("x", "web"),
    ],
)
def test_the_run_is_named_after_the_folder(folder: str, name: str) -> None:
    assert starter.run_name(folder) == name


def test_the_longest_folder_still_makes_a_name() -> None:
    assert len(starter.run_name("a" * 100)) == 41


def test_what_to_type_next_works_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert starter.next_steps(starter.write(Path()))[1:] == ["  homeport apply"]
    inner = starter.write(tmp_path / "in here")
    assert starter.next_steps(inner)[1:] == [f"  cd '{tmp_path}/in here'", "  homeport apply"]
    (tmp_path / "other.dstack.yml").write_text("type: service")
    assert starter.next_steps(tmp_path / starter.NAME)[1:] == [f"  homeport apply -f {starter.NAME}"]
