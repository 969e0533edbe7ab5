import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from homeport.errors import Invalid
from homeport.manifest import MAX_BYTES, BadManifest, Manifest, find, load, parse


@dataclass(frozen=True)
class Told:
    path: str
    message: str
    hint: str = ""


def manifest(text: str) -> Manifest:
    return parse(text, Path("hello.yml"))


def refused(text: str) -> str:
    with pytest.raises(BadManifest) as caught:
        manifest(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text("type: service\n")
    return folder


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ((".dstack.yml", ".homeport.yml", "a.dstack.yml"), ".dstack.yml"),
        ((".dstack.yaml", ".homeport.yml"), ".dstack.yaml"),
        ((".homeport.yml", "a.homeport.yml"), ".homeport.yml"),
        (("a.dstack.yml", "other.yml"), "a.dstack.yml"),
        (("a.homeport.yml",), "a.homeport.yml"),
    ],
)
def test_the_file_of_a_folder_is_found(tmp_path: Path, names: tuple[str, ...], chosen: str) -> None:
    assert find(written(tmp_path, *names)).name == chosen
    assert load(folder=tmp_path).path.name == chosen
    assert load(tmp_path).path.name == chosen


def test_several_files_are_listed(tmp_path: Path) -> None:
    with pytest.raises(BadManifest, match=r"2 configuration files in .*: a\.dstack\.yml, b\.homeport\.yml.*-f"):
        find(written(tmp_path, "b.homeport.yml", "a.dstack.yml", "c.yml"))


def test_no_file_says_what_was_looked_for_and_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(BadManifest) as caught:
        find(written(tmp_path, "compose.yaml"))
    for part in (".dstack.yml", ".homeport.yml", "compose.yaml", "-f"):
        assert part in str(caught.value)
    with pytest.raises(BadManifest, match="no configuration file"):
        find(tmp_path / "nowhere")


def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"cannot read .*none\.yml: No such file or directory"):
        load(tmp_path / "none.yml")
    big = tmp_path / "big.yml"
    big.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(BadManifest, match="larger than 1 MB"):
        load(big)
    latin = tmp_path / "latin.yml"
    latin.write_bytes("type: service\nname: caf\xe9\n".encode("latin-1"))
    with pytest.raises(BadManifest, match=r"latin\.yml:2: is not UTF-8"):
        load(latin)


def test_a_byte_order_mark_is_no_part_of_the_document(tmp_path: Path) -> None:
    file = tmp_path / "bom.yml"
    file.write_bytes(b"\xef\xbb\xbftype: service\n")
    assert json.loads(load(file).document_json) == {"type": "service"}


def test_scalars_that_json_would_change_are_sent_as_they_are_written() -> None:
    text = """
python: 3.10
retry: off
port: 22:22
mode: 0755
day: 2024-01-31
price: 0.50
big: 1_000
yes: True
exp: 1e3
inf: .inf
"""
    assert json.loads(manifest(text).document_json) == {
        "python": "3.10",
        "retry": "off",
        "port": "22:22",
        "mode": "0755",
        "day": "2024-01-31",
        "price": "0.50",
        "big": "1_000",
        "yes": "True",
        "exp": "1e3",
        "inf": ".inf",
    }


def test_scalars_that_json_keeps_are_what_they_are() -> None:
    text = "a: 8000\nb: 1.5\nc: true\nd:\ne: ~\nf: '8000'\ng: ${{ env.X }}\nh: |\n  two\n  lines\ni: -3\n"
    assert json.loads(manifest(text).document_json) == {
        "a": 8000,
        "b": 1.5,
        "c": True,
        "d": None,
        "e": None,
        "f": "8000",
        "g": "${{ env.X }}",
        "h": "two\nlines\n",
        "i": -3,
    }


def test_keys_are_text() -> None:
    assert json.loads(manifest("80: a\non: b\n").document_json) == {"80": "a", "on": "b"}


def test_anchors_and_merges_are_written_out() -> None:
    text = "x: &a {q: 1, r: 2}\ny:\n  r: 3\n  <<: *a\nz: [*a, {<<: [*a, {s: 4, q: 9}]}]\n"
    assert json.loads(manifest(text).document_json) == {
        "x": {"q": 1, "r": 2},
        "y": {"q": 1, "r": 3},
        "z": [{"q": 1, "r": 2}, {"q": 1, "r": 2, "s": 4}],
    }


SERVICE = """type: service
resources:
  gpu:
    memry: 24GB
env:
  - A=1
  - B=2
  - A=3
probes:
  - type: http
    url: /health
labels:
  odd key: 1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("type", 1),
        ("resources.gpu.memry", 4),
        ("resources.gpu.count", 3),
        ("resources.cpu", 2),
        ("env[2]", 8),
        ("env[9]", 5),
        ("probes[0].url", 11),
        ("probes[0].method", 10),
        ('labels["odd key"]', 13),
        ('labels["none.such[0]"]', 12),
        ("port", None),
        ("", None),
        ("]]..[", None),
    ],
)
def test_a_path_has_the_line_of_its_key_or_of_the_nearest_parent(path: str, line: int | None) -> None:
    assert manifest(SERVICE).line_of(path) == line


def test_problems_are_shown_with_file_and_line_in_the_order_of_the_file() -> None:
    problems = [
        Told("env[2]", "duplicate environment variable A"),
        Told("resources.gpu.memry", "unknown key `memry`", "Did you mean `memory`?"),
        Told("port", "is missing"),
        Told("", "either `commands` or `image` must be set", "Set one"),
    ]
    assert manifest(SERVICE).problem_lines(problems) == [
        "hello.yml: port: is missing",
        "hello.yml: either `commands` or `image` must be set. Set one",
        "hello.yml:4: resources.gpu.memry: unknown key `memry`. Did you mean `memory`?",
        "hello.yml:8: env[2]: duplicate environment variable A",
    ]


@pytest.mark.parametrize(
    ("text", "start", "part"),
    [
        ("a: 1\nb: 2\na: 3\n", "hello.yml:3:1: ", "duplicate key `a`, first in line 1"),
        ("x:\n  a: 1\n  a: 1\n", "hello.yml:3:3: ", "duplicate key `a`, first in line 2"),
        ("a: b: c\n", "hello.yml:1:5: ", "mapping values are not allowed here. Text with `: ` in it needs quotes"),
        ("a:\n\t- b\n", "hello.yml:2:1: ", "Indent with blanks, not tabs"),
        ("a: [1\n", "hello.yml:2:1: ", "broken YAML"),
        ("a: 1\n---\nb: 1\n", "hello.yml:2:1: ", "expected a single document"),
        ("a: *no\n", "hello.yml:1:4: ", "found undefined alias"),
        ("a: &x [*x]\n", "hello.yml:1:4: ", "an alias stands inside of what it stands for"),
        ("a: !!python/object/apply:os.system [id]\n", "hello.yml:1:4: ", "the tag `!!python/object/apply:os.system`"),
        ("a: !!binary aGk=\n", "hello.yml:1:4: ", "the tag `!!binary`"),
        ("{[1]: 2}\n", "hello.yml:1:2: ", "a key must be plain text"),
        ("a: 1\nb: \x01\n", "hello.yml:2: ", "the character #x0001"),
        ("", "hello.yml: ", "is empty"),
        ("# only a comment\n", "hello.yml: ", "is empty"),
        ("[" * 5000, "hello.yml: ", "nested too deeply"),
        ("a: " + "[" * 150 + "]" * 150, "hello.yml:1:", "nested too deeply"),
    ],
)
def test_broken_yaml_is_one_line_with_its_place(text: str, start: str, part: str) -> None:
    message = refused(text)
    assert message.startswith(start)
    assert part in message


def test_a_few_lines_of_aliases_cannot_grow_without_bound() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    assert "through its aliases" in refused("\n".join(lines))


def test_text_that_only_json_can_hold_still_reaches_the_server() -> None:
    assert manifest('a: "\\ud800"\n').document_json == '{"a": "\\ud800"}'
