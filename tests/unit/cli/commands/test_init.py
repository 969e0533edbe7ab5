"""`init`, `schema`, `version`: what they print, and where."""

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

Homeport = Callable[..., Result]


def test_init_prints_the_file_and_says_what_to_type(homeport: Homeport, tmp_path: Path) -> None:
    done = homeport("init", str(tmp_path / "new"))
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path}/new/service.homeport.yml\n")
    assert done.stderr.splitlines()[1:] == [f"  cd {tmp_path}/new", "  homeport apply"]
    again = homeport("init", str(tmp_path / "new"))
    assert (again.exit_code, again.stdout) == (2, "")


def test_schema_is_json_and_nothing_else(homeport: Homeport) -> None:
    assert json.loads(homeport("schema").stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_version_as_json(homeport: Homeport) -> None:
    number = homeport("version").stdout.strip()
    assert json.loads(homeport("version", "--json").stdout) == {"version": number}
