"""A configuration file with anything in it: read or refused on one printable line, in bounded time; by the command line, and
what it sends by the server."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from fixtures.documents import good_texts
from homeport import manifest
from homeport.manifest import BadManifest, Manifest
from homeport_control.spec.document import load_json, parse
from homeport_control.spec.problems import BadDocument
from homeport_control.spec.reading import MAX_ITEMS
from homeport_protos.api.v1 import api_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

FILE = Path("a.homeport.yml")
GOOD = good_texts()
PIECES = st.sampled_from(
    ["type: service\n", "- ", "? ", ": ", "&a ", "*a", "<<: ", "[", "]", "{", "}", "|\n", ">-\n", "'", '"', "#", "\t", "\n",
     "  ", "!!python/object/apply:os.system ", "!!binary ", "!!set ", "---\n", "...\n", "%YAML 1.2\n", "%TAG ! x\n", "\ufeff",
     "\0", "\x1b[2J", "\ud800", "\u2028", "\x85", "0x1F", "1e999", "9" * 400, ".nan", "0o7", "12:30:45", "2020-01-01", "yes",
     "~", "null", "a" * 2000, "env", "image", "é", "𝔘", "\\", '"\\ud800"', '"\\x1b[31m"', "@", "`"]
)  # fmt: skip


def outcome(text: str) -> Manifest | None:
    """None: it was refused, in words."""
    try:
        return manifest.parse(text, FILE)
    except BadManifest as error:
        said = str(error)
        assert said.startswith(f"{FILE}:"), said
        assert said.isprintable(), repr(said)
        assert len(said) < 10_000
        return None


def through(text: str) -> None:
    """By the command line, and on to the server; its problems come back to lines of the file."""
    read = outcome(text)
    if read is None:
        return
    try:
        parse(load_json(read.document_json), env={"A": "1"})
    except BadDocument as error:
        sent = [api_pb2.Problem(path=it.path, message=it.message, hint=it.hint) for it in error.problems]
        assert sent
        for line in read.problem_lines(sent):
            assert re.match(rf"{re.escape(str(FILE))}(:[0-9]+)?: ", line), line


@given(st.text(max_size=200) | st.lists(PIECES, max_size=30).map("".join))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    through(text)


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("bytes") / "a.yml"
    file.write_bytes(data)
    said = "read"
    try:
        manifest.load(file)
    except BadManifest as error:
        said = str(error)
    assert said.isprintable()


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_a_good_file_with_anything_put_into_it_is_read_or_refused(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(GOOD))
    for _ in range(data.draw(st.integers(1, 3))):
        at, cut = data.draw(st.integers(0, len(text))), data.draw(st.sampled_from([0, 0, 1, 5]))
        text = text[:at] + data.draw(PIECES | st.text(max_size=3)) + text[at + cut :]
    through(text)


@pytest.mark.nightly
@given(st.lists(PIECES | st.text(max_size=4) | st.sampled_from(GOOD), max_size=60).map("".join))
@settings(max_examples=20_000, deadline=None)
def test_many_texts_are_read_or_refused(text: str) -> None:
    through(text)


def bomb(levels: int, width: int) -> str:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


def merges(levels: int) -> str:
    return "\n".join(
        ["m0: &m0 {k: v}", *(f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}, *m{n - 1}]}}" for n in range(1, levels))]
    )


BOMBS = {
    "aliases": bomb(20, 10),
    "merges": merges(30),
    "itself": "a: &a [*a]",
    "itself by a merge": "a: &a {<<: *a}",
    "brackets": "[" * 20_000,
    "braces": "{a: " * 20_000,
    "sequences": "- " * 20_000,
    "keys of keys": "? " * 20_000,
    "deep by blanks": "\n".join(" " * n + "a:" for n in range(2000)),
    "a huge number": "a: " + "9" * 200_000,
    "a huge float": "a: 1e" + "9" * 200_000,
    "a huge key": "a" * 500_000 + ": 1",
    "colons": "a: " + "1:" * 100_000,
    "quotes": "a: " + '"' * 100_001,
    "anchors": "\n".join(f"a{n}: &x{n} 1" for n in range(5_000)),
    "duplicate keys": "\n".join("a: 1" for _ in range(5_000)),
    "unknown keys": "type: service\n" + "\n".join(f"k{n}: 1" for n in range(5_000)),
    "many of env": "type: service\nimage: a\nport: 1\nenv:\n" + "\n".join(f"  K{n}: v" for n in range(MAX_ITEMS + 1)),
    "many documents": "---\na: 1\n" * 5000,
    "comments": "# x\n" * 50_000,
    "a tag": "a: !" + "x" * 100_000 + " 1",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_would_explode_is_refused_soon(name: str) -> None:
    began_s = time.process_time()
    through(BOMBS[name])
    assert time.process_time() - began_s < 20.0, (
        "PyYAML reads some 100 kB a second here; nothing may grow faster than the file"
    )


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (
            {"env": {f"K{n}": "v" for n in range(MAX_ITEMS + 1)}},
            f"env: has {MAX_ITEMS + 1} entries, the limit is {MAX_ITEMS}",
        ),
        ({"volumes": [f"/a{n}:/b{n}" for n in range(MAX_ITEMS + 1)]}, f"the limit is {MAX_ITEMS}"),
        ({"commands": ["x"] * (MAX_ITEMS + 1)}, f"the limit is {MAX_ITEMS}"),
        ({"env": {f"K{n}": "v" * 60_000 for n in range(20)}}, "env: has more than 1 MB of names and values"),
        ({"env": [["x"] * 1999] * 50}, "has more than 20000 values"),
        ({"name": "x" * 70_000}, "name: is longer than 65536 characters"),
        ({"replicas": 1001}, "at most 1000"),
    ],
)
def test_each_limit_of_a_document_is_a_problem_with_its_number(document: dict[str, Any], says: str) -> None:
    with pytest.raises(BadDocument) as refused:
        parse({"type": "service", "image": "a", "port": 1, **document})
    assert says in str(refused.value)


def test_every_unknown_key_costs_little_and_a_hundred_are_told() -> None:
    nested = [{f"key_{n}_{m}": 1 for m in range(1900)} for n in range(10)]
    began_s = time.process_time()
    with pytest.raises(BadDocument) as refused:
        parse({"type": "service", "image": "a", "port": 1, "volumes": nested, "probes": nested[:1]})
    assert time.process_time() - began_s < 5.0
    assert len(refused.value.problems) <= 300


def test_json_that_is_too_large_is_not_even_read() -> None:
    with pytest.raises(BadDocument, match="larger than 6 MB"):
        load_json("[" + "1," * (4 << 20) + "1]")


def test_the_examples_are_read() -> None:
    assert len(GOOD) > 5
    assert all(outcome(text) for text in GOOD)
