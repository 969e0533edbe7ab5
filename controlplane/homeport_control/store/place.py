"""Where the database is: the path of a SQLite file, or the URL of a PostgreSQL database.

Covers reading and showing a place. A URL may hold a password: it is never shown, in no log and no error.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

from homeport_control.domain.errors import BadRequest

Place = Path | str  # a str is the URL of PostgreSQL, as libpq reads it
SCHEMES = ("postgresql", "postgres")
FILE = "database.url"  # in the state directory: the URL, when nothing else names one
MAX_URL_BYTES = 4096
_PORT = re.compile(r"[0-9]{0,5}")


def parse(text: str) -> str:
    """The URL of a PostgreSQL database. Raises BadRequest, in words that do not repeat what may be a password."""
    url = text.strip()
    try:
        parts = urlsplit(url)
        named = parts.path.strip("/") or "dbname=" in parts.query
    except ValueError as error:
        raise BadRequest(f"the database's URL cannot be read ({error}); {_FORM}") from None
    if parts.scheme not in SCHEMES or any(letter.isspace() for letter in url):
        raise BadRequest(f"the database's URL does not begin with postgresql:// or has a space; {_FORM}")
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if not all(_PORT.fullmatch(host.rpartition("]")[2].partition(":")[2]) for host in hosts):
        raise BadRequest(f"the port in the database's URL is no number, or a letter before it is not escaped; {_FORM}")
    if not named:
        raise BadRequest(f"the database's URL names no database; {_FORM}")
    return url


def from_file(file: Path) -> str:
    """The URL that stands in a file, alone. Raises BadRequest; OSError when it cannot be read."""
    with file.open("rb") as opened:
        content = opened.read(MAX_URL_BYTES + 1)
    if len(content) > MAX_URL_BYTES:
        raise BadRequest(f"{file} has more than {MAX_URL_BYTES} bytes: it is to hold one URL and nothing else")
    try:
        return parse(content.decode())
    except (BadRequest, UnicodeDecodeError) as error:
        raise BadRequest(f"{file}: {error}") from None


def shown(place: Place) -> str:
    """For people: without user and password."""
    if isinstance(place, Path):
        return str(place)
    parts = urlsplit(place)
    return f"PostgreSQL {parts.netloc.rpartition('@')[2] or 'on this machine'}{parts.path}"


_FORM = "write it as postgresql://USER:PASSWORD@HOST:PORT/NAME, with special letters as %XX"
