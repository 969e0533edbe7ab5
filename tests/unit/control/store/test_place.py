"""store/place: what is a URL of PostgreSQL, and that nobody sees its password."""

from pathlib import Path

import pytest
from homeport_control.domain.errors import BadRequest
from homeport_control.store import place


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:secret@db.example:5433/homeport",
        "postgres://db/homeport?sslmode=require",
        "postgresql://ann@one:1,two:2/homeport?target_session_attrs=read-write",
        "postgresql:///homeport?host=/run/postgresql",
        "postgresql://?dbname=homeport&host=db",
    ],
)
def test_what_libpq_takes_is_taken_as_it_is(url: str) -> None:
    assert place.parse(f" {url}\n") == url


@pytest.mark.parametrize(
    "text", ["", "homeport.db", "postgresql://db", "mysql://a:secret@b/c", "postgresql://a:se cret@b/c"]
)
def test_what_is_none_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(BadRequest, match="write it as postgresql://") as caught:
        place.parse(text)
    assert "cret" not in str(caught.value)


def test_a_file_holds_one_url(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://db/homeport\n")
    assert place.from_file(file) == "postgresql://db/homeport"
    for content in (b"", b"\xff\xfe", b"x" * 5000, b"postgresql://db/a\npostgresql://db/b"):
        file.write_bytes(content)
        with pytest.raises(BadRequest, match=str(file)):
            place.from_file(file)


def test_people_see_where_it_is_and_no_secret() -> None:
    assert place.shown("postgresql://ann:secret@db:5433/homeport?password=secret") == "PostgreSQL db:5433/homeport"
    assert place.shown("postgresql:///homeport") == "PostgreSQL on this machine/homeport"
    assert place.shown(Path("/state/homeport.db")) == "/state/homeport.db"
