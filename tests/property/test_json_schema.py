"""Law of the JSON schema: what the language accepts, the schema accepts; so an editor never marks a line that is right."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from homeport_control.spec.base import Model, keys_of
from homeport_control.spec.document import parse
from homeport_control.spec.fleet import FleetHost, FleetSpec, ProxyJump, SshConfig, Wake
from homeport_control.spec.gateway import Certificate, GatewaySpec
from homeport_control.spec.gateway_host import GatewayHost
from homeport_control.spec.gpu import GpuSpec
from homeport_control.spec.json_schema import TYPES, schema
from homeport_control.spec.probes import Header, Probe
from homeport_control.spec.problems import BadDocument
from homeport_control.spec.reading import read
from homeport_control.spec.resources import Resources
from homeport_control.spec.retry import Retry
from homeport_control.spec.rollout import Rollout
from homeport_control.spec.routing import LoadBalancing, Timeouts
from homeport_control.spec.service import ServiceSpec
from homeport_control.spec.traffic import ModelRoute, RateLimit, Scaling
from homeport_control.spec.volumes import FileMapping, Volume
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]
SCALARS: list[Any] = [
    None, True, False, 0, 1, 2, 22, 80, 1.5, 3.1, 3.12, "", "1", "2..4", "2..", "..8", "1.5", "on", "No", "off", "5m", "90",
    " 30 s ", "1W", "16GB", "16 gb", "512MB..", "8GB..16GB", "24GB", "A100:80GB:2", "nvidia", "80:8000", "8000", "/a:/b",
    "v:/b", "/x", "/", "a", "auto", "http", "GET", "Post", "rps", "header", "ip", "chat", "tgi", "spot", "reuse",
    "reuse_or_create", "3.10", "3.9", "web", "local", "10.0.0.1", "root", "*.Example.com", "files", "A=1", "NAME", "busybox:1",
    "self-signed", "service", "fleet", "gateway",
]  # fmt: skip
KEYS = sorted(
    {key for definition in schema()["$defs"].values() for way in (definition, *definition.get("anyOf", ()))
     for key in way.get("properties", ())} | {"min", "max", "size", "X-A"}
)  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=5,
)
LEAST: dict[str, dict[str, Any]] = {
    "service": {"image": "busybox", "port": 80},
    "fleet": {"name": "lab"},
    "gateway": {"domain": "example.com"},
}
TOP = {kind: sorted(schema()["$defs"][model.__name__]["properties"]) for kind, model in TYPES.items()}
DOCUMENTS = st.sampled_from(sorted(TYPES)).flatmap(
    lambda kind: st.dictionaries(st.sampled_from(TOP[kind]), VALUES, min_size=1, max_size=2).map(
        lambda fields: {**LEAST[kind], **fields, "type": kind}
    )
)


@lru_cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(DOCUMENTS)
def test_what_the_language_accepts_the_schema_accepts(document: dict[str, Any]) -> None:
    try:
        parse(document, env={"NAME": "x", "a": "x"})
    except BadDocument:
        assume(False)
    assert [error.message for error in validator().iter_errors(document)] == [], json.dumps(document)


VALUES_OF_A_KEY: list[Any] = [
    *SCALARS, [], {}, *([value] for value in SCALARS), {"min": "2"}, {"max": 4}, {"min": 1, "max": None}, {"min": 1.5},
    {"A": "x"}, {"A": 1, "B": None}, [{"A": True}], {"size": "100GB.."}, {"username": "u", "password": 1},
    {"type": "http"}, [{"type": "http", "headers": {"X-A": 1}, "method": "Post", "timeout": "3s"}], {"name": "m"},
    {"metric": "rps", "target": "2.5"}, {"instance_path": "/a", "path": "/b"}, [{"name": "v", "path": "/b"}],
    {"local_path": "a", "path": "b"}, {"hostname": "a"}, [{"hostname": "a", "port": "23"}], {"hosts": ["a", {"hostname": "b"}]},
    {"type": "ip_address"}, {"type": "header", "header": "X-A"}, [{"rps": 1, "key": {"type": "ip_address"}}],
    {"type": "files", "cert": "a", "key": "b"}, {"on_events": ["error"], "duration": "off"}, {"vendor": "AMD", "count": "1.."},
    {"memory": "24GB", "shared": "on"}, "cookie", "prefix", 4096, {"response": "5m"},
    "3C-EC-EF-12-34-56", {"mac": "3c:ec:ef:12:34:56"},
    [{"name": "X-A", "value": 1}], {"name": ["A", "B"], "compute_capability": "8.0.."},
]  # fmt: skip
LEAST_OF: dict[type[Model], dict[str, Any]] = {
    ServiceSpec: {"type": "service", **LEAST["service"]},
    FleetSpec: {"type": "fleet", **LEAST["fleet"]},
    GatewaySpec: {"type": "gateway", **LEAST["gateway"]},
    Certificate: {"type": "self-signed"},
    FileMapping: {"local_path": "a", "path": "b"},
    FleetHost: {"hostname": "a"},
    GatewayHost: {"hostname": "a", "user": "u"},
    GpuSpec: {"memory": "24GB"},
    Header: {"name": "A", "value": "b"},
    LoadBalancing: {},
    ModelRoute: {"name": "m"},
    Probe: {"type": "http"},
    ProxyJump: {"hostname": "a"},
    RateLimit: {"rps": 1},
    Resources: {},
    Retry: {},
    Rollout: {},
    Scaling: {"metric": "rps", "target": 1},
    SshConfig: {"hosts": ["a"]},
    Timeouts: {},
    Volume: {"path": "/b"},
    Wake: {"mac": "3c:ec:ef:12:34:56"},
}
WITH: dict[tuple[type[Model], str], dict[str, Any]] = {  # a key that needs another one
    (Certificate, "cert"): {"type": "files", "key": "/k"}, (Certificate, "key"): {"type": "files", "cert": "/c"},
    (Certificate, "directory"): {"type": "acme"}, (Certificate, "email"): {"type": "lets-encrypt"},
    (Probe, "body"): {"method": "put"}, (RateLimit, "key"): {"header": "X-A"}, (RateLimit, "header"): {"key": "header"},
    (ModelRoute, "chat_template"): {"format": "tgi"}, (ModelRoute, "eos_token"): {"format": "tgi"},
    (Volume, "path"): {"name": "v"}, (Volume, "optional"): {"name": "v"},
    (ServiceSpec, "scaling"): {"replicas": "1..2"}, (ServiceSpec, "commands"): {"image": "a"},
    (ServiceSpec, "python"): {"image": None, "commands": ["a"]}, (ServiceSpec, "nvcc"): {"image": None, "commands": ["a"]},
    (ServiceSpec, "image"): {"commands": ["a"]},
    (LoadBalancing, "name"): {"affinity": "cookie"}, (LoadBalancing, "prefix_bytes"): {"affinity": "prefix"},
    (FleetSpec, "power_off"): {"provision": "on-demand", "ssh_config": {
        "user": "u", "identity_file": "k", "hosts": [{"hostname": "a", "wake": "3c:ec:ef:12:34:56"}],
    }},
    (FleetSpec, "provision"): {"ssh_config": {"user": "u", "identity_file": "k", "hosts": ["a"]}},
}  # fmt: skip


def test_every_map_of_the_language_is_looked_at() -> None:
    assert {model.__name__ for model in LEAST_OF} == set(schema()["$defs"])


@pytest.mark.parametrize(
    ("model", "key"),
    [(model, key) for model in LEAST_OF for key in sorted(keys_of(model))],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_every_key_takes_in_the_schema_what_its_reader_takes(model: type[Model], key: str) -> None:
    one = Draft202012Validator({"$ref": f"#/$defs/{model.__name__}", "$defs": schema()["$defs"]})
    taken = 0
    for value in VALUES_OF_A_KEY:
        document = {**LEAST_OF[model], **WITH.get((model, key), {}), key: value}
        if not accepts(model, document):
            continue
        taken += 1
        found = [error.message for error in one.iter_errors(document)]
        assert found == [], json.dumps(document)
    assert taken, "no value here is one that this key takes: add one to VALUES_OF_A_KEY"


def accepts(model: type[Model], document: dict[str, Any]) -> bool:
    if model not in TYPES.values():
        return read(model, document)[0] is not None
    try:
        parse(document, env={"NAME": "x", "a": "x"})
    except BadDocument:
        return False
    return True


@pytest.mark.parametrize(
    "document",
    [
        {"type": "service", "image": "a", "port": "abc"},
        {"type": "service", "image": "a", "port": 80, "imagee": "b"},
        {"type": "service", "image": "a"},
        {"type": "service", "image": "a", "port": 80, "resources": {"gpu": {"memry": "24GB"}}},
        {"type": "service", "image": "a", "port": 80, "resources": {"gpu": "24GB::2"}},
        {"type": "service", "image": "a", "port": 80, "resources": {"memory": "lots"}},
        {"type": "service", "image": "a", "port": 80, "max_duration": "soon"},
        {"type": "service", "image": "a", "port": 80, "name": "My App"},
        {"type": "service", "image": "a", "port": 80, "python": "2.7"},
        {"type": "service", "image": "a", "port": 80, "volumes": ["/data"]},
        {"type": "service", "image": "a", "port": 80, "retry": "sometimes"},
        {"type": "fleet", "ssh_config": {"hosts": []}},
        {"type": "fleet", "port": 80},
        {"type": "gateway"},
        {"type": "task", "commands": ["a"]},
        {"image": "a", "port": 80},
    ],
    ids=json.dumps,
)
def test_typical_mistakes_are_marked(document: dict[str, Any]) -> None:
    with pytest.raises(BadDocument):
        parse(document)
    assert not validator().is_valid(document)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.yml")), ids=lambda path: path.name)
def test_every_example_is_right(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    if document.get("type") in TYPES:  # others there are configurations of other programs
        assert [error.message for error in validator().iter_errors(document)] == []
