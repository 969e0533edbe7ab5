"""Laws of the configuration language: it never fails in any way of its own, and what it writes it reads back."""

import json
from random import Random
from typing import Any

from homeport_control.spec.base import keys_of
from homeport_control.spec.document import Parsed, env_wanted, load_json, parse, parse_service
from homeport_control.spec.env import RegistryAuth, Secrets
from homeport_control.spec.fleet import FleetSpec
from homeport_control.spec.gateway import GatewaySpec
from homeport_control.spec.gpu import GpuSpec, gpu_text
from homeport_control.spec.naming import random_name
from homeport_control.spec.problems import BadDocument, Problem
from homeport_control.spec.ranges import Range, parse_range, range_text
from homeport_control.spec.reading import read
from homeport_control.spec.resources import Resources, resources_text
from homeport_control.spec.scalars import (
    MAX_DURATION_S,
    MAX_MEMORY_MIB,
    duration_or_off_s,
    duration_text,
    memory_text,
    parse_memory_mib,
)
from homeport_control.spec.service import ServiceSpec, spec_from_json
from homeport_control.spec.support import unsupported
from homeport_control.spec.words import resource_name
from hypothesis import given, settings
from hypothesis import strategies as st

FORMS = ["24GB", "1..2", "..", "A100:80GB:2", "8000", "80:8000", "off", "5m", "/a:/b", "A=1", "/x", "3.10", ".5", "\0"]
NAMES = ["http", "A", "rps", "ip", "ab", "busybox", "reuse", "spot", "header", "chat", "${{env.A}}", "\ud800"]
WORDS = st.sampled_from([*FORMS, *NAMES])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=6) | st.sampled_from(["min", "max", "name", "memory", "path", "type"]), inner
        )
    ),
    max_leaves=8,
)


def documents(kind: str, keys: frozenset[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Documents that have many keys of the language and any values."""
    return st.dictionaries(st.sampled_from(sorted(keys)) | st.text(max_size=6), JSON, max_size=8).map(
        lambda document: {**document, "type": kind}
    )


ANY_DOCUMENT = st.one_of(
    JSON,
    documents("service", keys_of(ServiceSpec)),
    documents("fleet", keys_of(FleetSpec)),
    documents("gateway", keys_of(GatewaySpec)),
    documents("service", frozenset({"resources", "image", "port"})),
)

memory = st.integers(1, MAX_MEMORY_MIB)
counts = st.integers(1, 64)


def ranges(ends: st.SearchStrategy[int]) -> st.SearchStrategy[Range[int]]:
    both = st.tuples(ends, ends).map(lambda pair: Range(min(pair), max(pair)))
    return both | ends.map(lambda end: Range(end, None)) | ends.map(lambda end: Range[int](None, end))


def outcome(document: Any) -> tuple[Parsed | None, tuple[Problem, ...]]:
    try:
        return parse(document, env={"A": "1"}), ()
    except BadDocument as error:
        return None, error.problems


@given(ANY_DOCUMENT)
@settings(max_examples=400)
def test_any_document_is_read_or_refused_with_problems(document: Any) -> None:
    parsed, problems = outcome(document)
    if parsed is None:
        assert problems
        assert all(problem.message and str(problem).encode() for problem in problems)
    else:
        assert type(parsed.spec).model_validate_json(parsed.spec.model_dump_json()) == parsed.spec
        unsupported(parsed.spec)
    env_wanted(document)


@given(st.text(max_size=40))
def test_any_text_is_json_or_refused(text: str) -> None:
    try:
        loaded = load_json(text)
    except BadDocument:
        return
    assert json.dumps(loaded) == json.dumps(json.loads(text))


@st.composite
def services(draw: st.DrawFn) -> dict[str, Any]:
    def maybe(key: str, values: st.SearchStrategy[Any]) -> dict[str, Any]:
        return {key: draw(values)} if draw(st.booleans()) else {}

    gpu = st.builds(
        lambda size, count, name: ":".join([*name, memory_text(size), range_text(count, str)]),
        memory,
        ranges(counts),
        st.sampled_from([(), ("A100",), ("nvidia",), ("nvidia", "L4,A10")]),
    )
    return {
        "type": "service",
        "image": draw(st.sampled_from(["a", "a:1", "h:5/a@sha256:0"])),
        "port": draw(st.integers(1, 65535) | st.just("80:8000")),
        **maybe("replicas", counts),
        **maybe("max_duration", st.integers(1, 10**6) | st.just("off")),
        **maybe("stop_duration", st.sampled_from(["1s", "5m", 0])),
        **maybe("env", st.dictionaries(st.from_regex(r"[A-Z]{1,8}", fullmatch=True), st.text("ab=$ ", max_size=9))),
        **maybe("commands", st.lists(st.text("ab \"'$&", min_size=1, max_size=9), max_size=3)),
        **maybe("volumes", st.sampled_from([["/a:/b"], ["n:/b", "/a:/c"], [{"instance_path": "/a", "path": "/b"}]])),
        **maybe("probes", st.just([{"type": "http", "url": "/h", "timeout": "2s"}])),
        **maybe("https", st.booleans() | st.just("auto")),
        **maybe("max_price", st.floats(0, 100)),
        "resources": {
            **maybe("gpu", gpu),
            **maybe("memory", ranges(memory).map(lambda value: range_text(value, memory_text))),
            **maybe("cpu", ranges(counts).map(lambda value: range_text(value, str))),
            **maybe("shm_size", memory.map(memory_text)),
        },
    }


@given(services())
def test_a_spec_goes_to_json_and_back_and_holds_no_value_of_env(document: dict[str, Any]) -> None:
    parsed = parse_service(document)
    assert isinstance(parsed.spec, ServiceSpec)
    assert spec_from_json(parsed.spec.model_dump_json()) == parsed.spec
    assert parsed.spec.env == tuple(document.get("env", {}))
    assert parsed.secrets.env == document.get("env", {})
    assert Secrets.from_json(parsed.secrets.to_json()) == parsed.secrets


@given(st.from_regex(r"[a-z]{3}[0-9]{9}", fullmatch=True))
def test_a_secret_is_in_no_spec_and_no_problem(secret: str) -> None:
    document: dict[str, Any] = {
        "type": "service",
        "image": "a",
        "port": 1,
        "env": {"K": secret, "K2": "${{ env.K }}"},
        "registry_auth": {"username": "u", "password": secret},
    }
    parsed = parse(document)
    assert secret not in parsed.spec.model_dump_json() + repr(parsed)
    broken = {"env": [f"K={secret}", f"K={secret}", [secret]], "registry_auth": {"password": [secret]}}
    _, problems = outcome({**document, **broken})
    assert problems
    assert secret not in "".join(str(problem) for problem in problems)


@given(ranges(memory))
def test_a_range_of_memory_is_read_as_it_is_shown(value: Range[int]) -> None:
    assert parse_range(range_text(value, memory_text), parse_memory_mib) == value


@given(memory)
def test_memory_is_read_as_it_is_shown(mib: int) -> None:
    assert parse_memory_mib(memory_text(mib)) == mib


@given(st.none() | st.integers(0, MAX_DURATION_S))
def test_a_duration_is_read_as_it_is_shown(seconds: int | None) -> None:
    assert duration_or_off_s(duration_text(seconds)) == seconds


@given(ranges(st.integers(0, MAX_DURATION_S)), st.sampled_from(["{}..{}", " {} .. {} "]))
def test_a_range_is_read_in_all_its_spellings(value: Range[int], form: str) -> None:
    low, high = ("" if end is None else str(end) for end in (value.min, value.max))
    assert parse_range(form.format(low, high), lambda end: int(str(end))) == value
    given = {key: end for key, end in (("min", value.min), ("max", value.max)) if end is not None}
    assert parse_range(given, lambda end: int(str(end))) == value


GPUS = st.builds(
    GpuSpec,
    vendor=st.sampled_from([None, "nvidia", "amd"]),
    names=st.sampled_from([(), ("A100",), ("L4", "RTX 4090")]),
    memory_mib=st.none() | ranges(memory),
    count=st.tuples(counts, counts).map(lambda pair: Range(min(pair), max(pair)))
    | counts.map(lambda n: Range(n, None)),
)


@given(GPUS, st.randoms(use_true_random=False))
def test_a_gpu_spec_is_read_as_it_is_shown_in_any_order(spec: GpuSpec, random: Random) -> None:
    tokens = gpu_text(spec).split(":")
    random.shuffle(tokens)
    resources, problems = read(Resources, {"gpu": ":".join(tokens)})
    assert problems == ()
    assert resources is not None
    assert resources.gpu == spec


@given(services())
def test_resources_have_one_line(document: dict[str, Any]) -> None:
    spec = parse_service(document).spec
    assert isinstance(spec, ServiceSpec)
    text = resources_text(spec.resources)
    assert text
    assert "\n" not in text
    assert (text == "any") == (spec.resources == Resources())


@given(st.binary(max_size=16) | st.integers())
def test_every_random_name_can_be_a_name(randomness: bytes | int) -> None:
    assert resource_name(random_name(randomness)) == random_name(randomness)


@given(st.text(max_size=5), st.text(max_size=5))
def test_registry_auth_never_shows_its_password(username: str, password: str) -> None:
    assert repr(RegistryAuth(username, "#" + password + "#")) == f"RegistryAuth(username={username!r})"
