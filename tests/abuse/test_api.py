"""Every method of the API with any message from any caller: an answer or a clear refusal, in time, and a server that lives.

Methods are found by their descriptors: a new one is met here by itself.
"""

import json
import os
import random
from itertools import islice
from typing import Any

import grpc
import pytest
import yaml
from fixtures.documents import good_texts
from fixtures.hostile import ANSWER_S, NAMES, Victim, bearer
from fixtures.messages import messages
from google.protobuf.message_factory import GetMessageClass
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.api.v1 import api_pb2
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

METHODS = {
    f"{service.full_name}/{method.name}": method
    for service in (api_pb2.DESCRIPTOR.services_by_name["Api"], agent_pb2.DESCRIPTOR.services_by_name["Enrollment"])
    for method in service.methods
}
OURS = {"UNKNOWN", "INTERNAL", "UNIMPLEMENTED", "UNAVAILABLE", "DATA_LOSS"}  # what says that the server failed
STREAM_S = 0.2  # an endless one is read so long
EXAMPLES = [json.dumps(yaml.safe_load(text), default=str) for text in good_texts()]
GATEWAY = json.dumps({"type": "gateway", "name": "local", "host": {"hostname": "h1"}, "domain": "example.org"})
FLEET = json.dumps({"type": "fleet", "name": "f", "ssh_config": {"user": "u", "hosts": ["10.0.0.1"]}})
ODD_VALUES = (None, -1, 10**30, 1e308, "", "\0", "x" * 70_000, [], {}, ["a"] * 1000, True, {"a": {"b": []}})
CASES = 8
fuzzing = settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def changed(document: str, random: random.Random) -> str:
    """A document near a good one: a value somewhere in it is another one, or text of it is cut."""
    if random.random() < 0.1:
        return document[: random.randrange(len(document))]
    value = json.loads(document)
    here = value
    while isinstance(here, dict | list) and here:
        key: Any = random.choice(list(here) if isinstance(here, dict) else range(len(here)))
        if not isinstance(here[key], dict | list) or not here[key] or random.random() < 0.4:
            here[key] = random.choice(ODD_VALUES)
            break
        here = here[key]
    return json.dumps(value)


DOCUMENTS = st.one_of(
    st.sampled_from([*EXAMPLES, GATEWAY, FLEET]),
    st.builds(changed, st.sampled_from([*EXAMPLES, GATEWAY, FLEET]), st.randoms(use_true_random=False)),
    st.sampled_from(
        ["[" * 100_000, "{", "[]", "1e999", '{"type": "service"}', '{"a":' * 5000 + "1" + "}" * 5000, "9" * 5000]
    ),
)


def call(victim: Victim, path: str, request: Any, role: str) -> str:
    """The name of the status with which it ends; its details are one line for a person."""
    method = METHODS[path]
    kind = "stream" if method.client_streaming else "unary"
    made = getattr(victim.channel, f"{kind}_{'stream' if method.server_streaming else 'unary'}")(
        f"/{path}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    sent = iter([request]) if method.client_streaming else request
    try:
        if method.server_streaming:
            for _ in islice(made(sent, metadata=bearer(role), timeout=STREAM_S), 3):
                pass
        else:
            made(sent, metadata=bearer(role), timeout=ANSWER_S)
    except grpc.RpcError as error:
        code, details = error.code(), error.details() or ""
    else:
        return "OK"
    if method.server_streaming and code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "OK"
    assert code.name not in OURS, f"{path} {role}: {code.name} {details}\n{str(request)[:500]}"
    assert code is not grpc.StatusCode.DEADLINE_EXCEEDED, f"{path}: no answer within {ANSWER_S} s"
    assert details.isprintable(), f"{path}: {details!r}"
    assert len(details) < 12_000, f"{path}: {details[:200]!r}…"
    return str(code.name)


def fuzz(victim: Victim, path: str, cases: int, *, long: int = 0) -> None:
    kind = GetMessageClass(METHODS[path].input_type)
    roles = st.sampled_from(["admin", "admin", "admin", "user", "service", "none"])

    @settings(fuzzing, max_examples=cases)
    @given(messages(kind, words=NAMES, documents=DOCUMENTS, long=long), roles)
    def one(request: Any, role: str) -> None:
        call(victim, path, request, role)

    one()


@pytest.mark.parametrize("path", METHODS)
def test_any_message_is_answered_or_refused(server: Victim, path: str) -> None:
    fuzz(server, path, int(os.environ.get("HOMEPORT_FUZZ_CASES", CASES)))
    server.must_be_well()


@pytest.mark.nightly
@pytest.mark.parametrize("path", METHODS)
def test_many_messages_are_answered_or_refused(server: Victim, path: str) -> None:
    fuzz(server, path, 500, long=100_000)
    server.must_be_well()
