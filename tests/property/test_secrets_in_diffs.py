"""No secret is in what is told of a change: not in a difference, its rendering, a stored revision, or the code's lines."""

import io
from collections.abc import Mapping

from homeport_cli import render
from homeport_control.spec.diff import Change, diff
from homeport_control.spec.document import parse_service
from homeport_control.spec.impact import how_of
from homeport_control.spec.service import ServiceSpec
from homeport_protos.api.v1 import api_pb2
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

# Long enough not to be in a table by chance, of letters that nothing else here has.
secret = st.text("QXZß{}[]$%*", min_size=6, max_size=40).filter(lambda text: "***" not in text)
sent_by_probes = st.text("ÄÖÜ%*", min_size=6, max_size=40).filter(lambda text: "***" not in text)
names = st.sampled_from(["A", "TOKEN", "DB_PASSWORD", "KEY.x"])


@st.composite
def documents(draw: st.DrawFn) -> tuple[dict[str, object], frozenset[str]]:
    """A service that holds secrets in every place that may, and these secrets."""
    env: Mapping[str, str] = draw(st.dictionaries(names, secret, max_size=4))
    password, token, body = draw(secret), draw(sent_by_probes), draw(sent_by_probes)
    document: dict[str, object] = {"type": "service", "name": "web", "image": "a", "port": 1, "env": dict(env)}
    kept = set(env.values())
    if draw(st.booleans()):
        document["registry_auth"] = {"username": "u", "password": password}
        kept.add(password)
    if draw(st.booleans()):
        headers = [{"name": "Authorization", "value": token}]
        document["probes"] = [{"type": "http", "method": "post", "headers": headers, "body": body}]
        kept |= {token, body}
    return document, frozenset(kept)


def rendered(changes: tuple[Change, ...]) -> str:
    answer = api_pb2.PlanResponse(
        how="rolling",
        changes=[api_pb2.Change(path=c.path, old=c.old, new=c.new, how=how_of(c.path)) for c in changes],
    )
    console = Console(file=io.StringIO(), width=1000, record=True)
    console.print(render.plan(answer))
    return console.export_text()


@given(documents(), documents())
def test_no_difference_tells_a_secret(
    old: tuple[dict[str, object], frozenset[str]], new: tuple[dict[str, object], frozenset[str]]
) -> None:
    before, after = parse_service(old[0]), parse_service(new[0])
    assert isinstance(before.spec, ServiceSpec)
    assert isinstance(after.spec, ServiceSpec)
    changes = diff(before.spec, before.secrets, after.spec, after.secrets)
    assert bool(changes) == (old[0] != new[0])
    told = repr(changes) + rendered(changes) + render.json_text(api_pb2.PlanResponse())
    for value in old[1] | new[1]:
        assert value not in told, "a secret is told"
        if not set(value) & set("ÄÖÜ"):
            assert value not in before.spec.model_dump_json() + after.spec.model_dump_json(), "it is stored in the open"
            assert value not in repr((before.secrets, after.secrets))
