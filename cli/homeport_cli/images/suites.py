"""Which distribution's archive has which Python, and how this machine reaches it.

Covers the table of suites and the reading of APT's own sources, so that a company's mirror is used as APT uses it. Does
not download anything (build).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from homeport_cli.errors import CliError, UsageError


@dataclass(frozen=True, slots=True)
class Archive:
    """A distribution's official archive, used when this machine's own sources do not have the suite."""

    name: str
    url: str
    security_url: str
    components: str
    keyring: str
    keyring_package: str


@dataclass(frozen=True, slots=True)
class Suite:
    name: str
    python: str
    archive: Archive


@dataclass(frozen=True, slots=True)
class Source:
    """One line of APT's sources, whichever of the two formats it was written in."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    @property
    def line(self) -> str:
        options = f"[signed-by={self.signed_by}] " if self.signed_by else ""
        return f"deb {options}{self.uri} {self.suite} {' '.join(self.components)}"


_KEYRINGS = "/usr/share/keyrings"
DEBIAN = Archive(
    "Debian",
    "http://deb.debian.org/debian",
    "http://deb.debian.org/debian-security",
    "main",
    f"{_KEYRINGS}/debian-archive-keyring.gpg",
    "debian-archive-keyring",
)
UBUNTU = Archive(
    "Ubuntu",
    "http://archive.ubuntu.com/ubuntu",
    "http://security.ubuntu.com/ubuntu",
    "main universe",
    f"{_KEYRINGS}/ubuntu-archive-keyring.gpg",
    "ubuntu-keyring",
)
# The first one with a Python is taken, unless this machine itself runs another one that has it.
SUITES = (
    Suite("bullseye", "3.9", DEBIAN),
    Suite("jammy", "3.10", UBUNTU),
    Suite("bookworm", "3.11", DEBIAN),
    Suite("noble", "3.12", UBUNTU),
    Suite("trixie", "3.13", DEBIAN),
    Suite("plucky", "3.13", UBUNTU),
    Suite("questing", "3.13", UBUNTU),
    Suite("resolute", "3.14", UBUNTU),
)
_FORMATS = {".list", ".sources"}


def choose(python: str, own_codename: str) -> Suite:
    """The suite that has this Python. Raises UsageError."""
    fitting = [suite for suite in SUITES if suite.python == python]
    if not fitting:
        known = ", ".join(dict.fromkeys(suite.python for suite in SUITES))
        raise UsageError(f"no archive is known that has Python {python}; there are {known}")
    return next((suite for suite in fitting if suite.name == own_codename), fitting[0])


def sources_of(suite: Suite, own: Iterable[Source], mirror: str = "") -> tuple[Source, ...]:
    """Where the packages come from: `mirror`; else this machine's own sources of that suite; else the official archive.

    Own sources are only those of the distribution itself: a third party's archive may have a suite of the same name.
    """
    archive = suite.archive
    signed_by = archive.keyring
    components = tuple(archive.components.split())
    if mirror:
        return (Source(mirror, suite.name, components, signed_by),)
    wanted = (suite.name, f"{suite.name}-updates", f"{suite.name}-security")
    found = tuple(
        Source(source.uri, source.suite, tuple(it for it in source.components if it in components), signed_by)
        for source in own
        if source.suite in wanted and "main" in source.components and source.signed_by in ("", signed_by)
    )
    if any(source.suite == suite.name for source in found):
        return tuple(dict.fromkeys(found))
    return (
        Source(archive.url, wanted[0], components, signed_by),
        Source(archive.url, wanted[1], components, signed_by),
        Source(archive.security_url, wanted[2], components, signed_by),
    )


def need_keyring(suite: Suite) -> None:
    """Without its keys nothing of an archive can be trusted. Raises Error."""
    if not Path(suite.archive.keyring).exists():
        raise CliError(
            f"the keys of {suite.archive.name}'s archive are not on this machine; "
            f"install them with: apt-get install {suite.archive.keyring_package}"
        )


def own_codename(os_release: Path = Path("/etc/os-release")) -> str:
    """`bookworm`; empty where there is none."""
    try:
        rows = os_release.read_text().splitlines()
    except OSError:
        return ""
    values = dict(row.split("=", 1) for row in rows if "=" in row)
    return values.get("VERSION_CODENAME", "").strip("\"'")


def own_sources(apt: Path = Path("/etc/apt")) -> tuple[Source, ...]:
    """What APT of this machine uses. A file that cannot be read is passed over, as one that is not there."""
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    found: list[Source] = []
    for file in files:
        if file.suffix in _FORMATS and file.is_file():
            try:
                text = file.read_text(errors="replace")
            except OSError:
                continue
            found.extend(_one_line_format(text) if file.suffix == ".list" else _deb822(text))
    return tuple(found)


def _one_line_format(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        kind, _, rest = line.partition("#")[0].strip().partition(" ")
        rest = rest.strip()
        options: Mapping[str, str] = {}
        if rest.startswith("["):
            inside, _, rest = rest[1:].partition("]")
            options = dict(item.split("=", 1) for item in inside.split() if "=" in item)
        words = rest.split()
        if kind == "deb" and len(words) >= 3:
            yield Source(words[0], words[1], tuple(words[2:]), options.get("signed-by", ""))


def _deb822(text: str) -> Iterator[Source]:
    for paragraph in _paragraphs(text):
        if "deb" not in paragraph.get("types", "").split() or paragraph.get("enabled", "yes").lower() == "no":
            continue
        for uri in paragraph.get("uris", "").split():
            for suite in paragraph.get("suites", "").split():
                components = tuple(paragraph.get("components", "").split())
                yield Source(uri, suite, components, " ".join(paragraph.get("signed-by", "").split()))


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    current: dict[str, str] = {}
    key = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if current:
                yield current
            current, key = {}, ""
        elif line[0] in " \t":
            current[key] = f"{current.get(key, '')} {line.strip()}"
        else:
            key, _, value = line.partition(":")
            key = key.strip().lower()
            current[key] = value.strip()
