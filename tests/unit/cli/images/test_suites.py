from pathlib import Path

import pytest
from homeport_cli.errors import UsageError
from homeport_cli.images.suites import DEBIAN, SUITES, Source, choose, own_codename, own_sources, sources_of

BOOKWORM = next(suite for suite in SUITES if suite.name == "bookworm")
KEYS = DEBIAN.keyring


@pytest.mark.parametrize(
    ("python", "own", "suite"),
    [
        ("3.9", "", "bullseye"),
        ("3.10", "bookworm", "jammy"),
        ("3.11", "noble", "bookworm"),
        ("3.12", "", "noble"),
        ("3.13", "", "trixie"),
        ("3.13", "questing", "questing"),
        ("3.14", "", "resolute"),
    ],
)
def test_each_python_has_a_suite_and_this_machines_own_goes_first(python: str, own: str, suite: str) -> None:
    assert choose(python, own).name == suite


@pytest.mark.parametrize("python", ["3.8", "3.15", "3", "", "2.7"])
def test_a_python_that_no_archive_has_is_refused_with_those_there_are(python: str) -> None:
    with pytest.raises(UsageError, match=r"there are 3\.9, 3\.10"):
        choose(python, "bookworm")


def test_without_sources_of_its_own_the_official_archive_is_used() -> None:
    lines = [source.line for source in sources_of(BOOKWORM, ())]
    assert lines == [
        f"deb [signed-by={KEYS}] http://deb.debian.org/debian bookworm main",
        f"deb [signed-by={KEYS}] http://deb.debian.org/debian bookworm-updates main",
        f"deb [signed-by={KEYS}] http://deb.debian.org/debian-security bookworm-security main",
    ]


def test_this_machines_own_mirror_of_the_suite_is_used_and_nobody_elses() -> None:
    own = (
        Source("http://mirror.example/debian", "bookworm", ("main", "contrib"), KEYS),
        Source("http://mirror.example/debian", "bookworm-updates", ("main",)),
        Source("http://mirror.example/debian", "trixie", ("main",), KEYS),
        Source("http://tools.example/debian", "bookworm", ("main",), "/etc/apt/keyrings/tools.gpg"),
        Source("http://docker.example/debian", "bookworm", ("stable",), ""),
    )
    found = sources_of(BOOKWORM, own)
    assert [(source.uri, source.suite, source.components) for source in found] == [
        ("http://mirror.example/debian", "bookworm", ("main",)),
        ("http://mirror.example/debian", "bookworm-updates", ("main",)),
    ]
    assert {source.signed_by for source in found} == {KEYS}


def test_updates_alone_are_not_the_suite() -> None:
    own = (Source("http://mirror.example/debian", "bookworm-updates", ("main",), KEYS),)
    assert sources_of(BOOKWORM, own)[0].uri == DEBIAN.url


def test_a_mirror_that_is_named_goes_before_all_others() -> None:
    own = (Source("http://mirror.example/debian", "bookworm", ("main",), KEYS),)
    (only,) = sources_of(BOOKWORM, own, "http://lab.example/debian")
    assert only.line == f"deb [signed-by={KEYS}] http://lab.example/debian bookworm main"


def test_both_formats_of_apts_sources_are_read(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "# a comment\ndeb http://a.example/debian bookworm main contrib # more\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://b.example/debian bookworm main\n"
        "deb-src http://a.example/debian bookworm main\n"
    )
    (tmp_path / "sources.list.d" / "debian.sources").write_text(
        "Types: deb deb-src\nURIs: http://c.example/debian\nSuites: bookworm\n bookworm-updates\n# inside\nComponents: main\n"
        "Signed-By: /k.gpg\n\nEnabled: no\nTypes: deb\nURIs: http://d.example/debian\nSuites: bookworm\nComponents: main\n"
    )
    (tmp_path / "sources.list.d" / "old.list.save").write_text("deb http://e.example/debian bookworm main\n")
    assert own_sources(tmp_path) == (
        Source("http://a.example/debian", "bookworm", ("main", "contrib")),
        Source("http://b.example/debian", "bookworm", ("main",), "/k.gpg"),
        Source("http://c.example/debian", "bookworm", ("main",), "/k.gpg"),
        Source("http://c.example/debian", "bookworm-updates", ("main",), "/k.gpg"),
    )
    assert own_sources(tmp_path / "nowhere") == ()


def test_the_codename_is_the_systems_own(tmp_path: Path) -> None:
    file = tmp_path / "os-release"
    file.write_text('NAME="Debian"\nVERSION_CODENAME="bookworm"\n\nodd line\n')
    assert own_codename(file) == "bookworm"
    assert own_codename(tmp_path / "none") == ""
