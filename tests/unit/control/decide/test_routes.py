"""decide/routes: which replica is an endpoint, and which snapshots are fit to be published."""

from dataclasses import replace

import pytest
from homeport_control.decide.routes import ServiceInput, problems, snapshot
from homeport_control.domain.gateway import (
    Endpoint,
    Gateway,
    GatewaySnapshot,
    PublishedModel,
    ServiceRoute,
    TokenGrant,
)
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import Revision, Run, RunState, RunWanted

GATEWAY = Gateway("local", "h1", "127.0.0.1", 7480, "localhost")
READY = Replica("a", "run", 0, 1, Wanted.RUN, 0.0, host_id="h1", phase=Phase.READY, host_port=9001)
DRAINING = replace(READY, wanted=Wanted.DRAIN, drain_started_at_s=5.0)
HASH = "0" * 64


def run(name: str = "hello") -> Run:
    revision = Revision("run", 1, "{}", 0.0)
    return Run("run", name, "me", RunWanted.RUN, RunState.RUNNING, "", 0.0, None, (revision,))


def endpoints(*replicas: Replica) -> tuple[Endpoint, ...]:
    made = snapshot(GATEWAY, [ServiceInput(run(), True, replicas)], [])
    return made.services[0].endpoints


def test_a_ready_replica_is_an_endpoint_on_the_loopback() -> None:
    assert endpoints(READY) == (Endpoint("a", "127.0.0.1", 9001),)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.READY])
def test_a_replica_in_any_other_phase_is_left_out(phase: Phase) -> None:
    assert endpoints(replace(READY, phase=phase)) == ()


@pytest.mark.parametrize("phase", [Phase.READY, Phase.UNREADY])
def test_a_draining_replica_stays_as_draining_until_its_requests_are_done(phase: Phase) -> None:
    draining = replace(DRAINING, phase=phase)
    assert endpoints(draining) == (Endpoint("a", "127.0.0.1", 9001, draining=True),)
    assert endpoints(replace(draining, drained_at_s=9.0)) == ()


def test_what_is_stopped_ended_or_without_a_port_is_left_out() -> None:
    assert endpoints(replace(READY, wanted=Wanted.STOP)) == ()
    assert endpoints(replace(READY, ended_at_s=3.0)) == ()
    assert endpoints(replace(READY, host_port=0)) == ()
    assert endpoints(replace(DRAINING, phase=Phase.FAILED)) == ()


def test_a_lost_hosts_replica_stays_as_the_gateway_sees_for_itself() -> None:
    assert endpoints(replace(READY, lost=True)) == (Endpoint("a", "127.0.0.1", 9001),)


def test_a_replica_on_another_host_is_left_out_as_no_path_leads_there_yet() -> None:
    assert endpoints(replace(READY, host_id="h2")) == ()


def test_equal_facts_in_any_order_make_equal_snapshots() -> None:
    one, two = READY, replace(READY, id="b", host_port=9002)
    services = [ServiceInput(run("hello"), True, (one, two)), ServiceInput(run("abc"), False, ())]
    tokens = [TokenGrant("b" * 64), TokenGrant("a" * 64, ("hello",))]
    turned = [ServiceInput(run("abc"), False, ()), ServiceInput(run("hello"), True, (two, one))]
    assert snapshot(GATEWAY, services, tokens) == snapshot(GATEWAY, turned, tokens[::-1])
    made = snapshot(GATEWAY, services, tokens)
    assert [(s.name, s.domains, s.auth) for s in made.services] == [
        ("abc", ("abc.localhost",), False),
        ("hello", ("hello.localhost",), True),
    ]


def snap(*services: ServiceRoute, tokens: tuple[TokenGrant, ...] = ()) -> GatewaySnapshot:
    return GatewaySnapshot("local", "127.0.0.1", 7480, "localhost", services, tokens)


def route(name: str, *members: Endpoint, domain: str = "") -> ServiceRoute:
    return ServiceRoute(name, (domain or f"{name}.localhost",), True, members)


def test_a_models_name_that_two_services_declare_stays_with_the_older_one() -> None:
    older, newer = replace(run("zebra"), submitted_at_s=5.0), replace(run("ant"), submitted_at_s=6.0)
    services = [
        ServiceInput(newer, True, (), PublishedModel("llama")),
        ServiceInput(older, True, (), PublishedModel("llama", "/api")),
        ServiceInput(run("bee"), True, (), PublishedModel("qwen")),
    ]
    for given in (services, services[::-1]):
        made = snapshot(GATEWAY, given, [])
        assert [(service.name, service.model) for service in made.services] == [
            ("ant", None),
            ("bee", PublishedModel("qwen", ready=False)),
            ("zebra", PublishedModel("llama", "/api", ready=False)),
        ]
        assert problems(made) == ()


def test_a_later_service_with_a_weight_shares_a_models_names_and_one_without_keeps_what_is_free() -> None:
    old, canary, third = (
        replace(run(name), submitted_at_s=at) for name, at in (("old", 5.0), ("canary", 6.0), ("x", 7.0))
    )
    services = [
        ServiceInput(old, True, (), PublishedModel("llama", aliases=("best",))),
        ServiceInput(canary, True, (replace(READY, in_rotation=True),), PublishedModel("llama", weight=10)),
        ServiceInput(third, True, (replace(READY, in_rotation=False),), PublishedModel("best", aliases=("mine",))),
    ]
    made = snapshot(GATEWAY, services, [])
    assert {service.name: service.model for service in made.services} == {
        "old": PublishedModel("llama", aliases=("best",), ready=False),
        "canary": PublishedModel("llama", weight=10, ready=True),
        "x": PublishedModel("mine", ready=False),
    }
    assert [problem for problem in problems(made) if "model" in problem] == []


def test_the_caller_of_a_service_is_known_by_the_tokens_id_and_its_wish_to_see_the_token_is_kept() -> None:
    made = snapshot(GATEWAY, [ServiceInput(run("a"), True, (), forward_token=True)], [TokenGrant(HASH, (), "t1")])
    assert (made.services[0].forward_token, made.tokens[0].token_id, problems(made)) == (True, "t1", ())


def test_what_may_sleep_is_held_while_nothing_serves_it_and_is_meant_to() -> None:
    def held(*replicas: Replica, sleeps: bool = True, wanted: RunWanted = RunWanted.RUN) -> bool:
        given = ServiceInput(replace(run(), wanted=wanted), True, replicas, sleeps=sleeps)
        return snapshot(GATEWAY, [given], []).services[0].held

    assert held()
    assert held(DRAINING)
    assert held(replace(READY, phase=Phase.PROBING))
    assert not held(READY)
    assert not held(READY, replace(DRAINING, id="b", host_port=9002))
    assert not held(sleeps=False)
    assert not held(wanted=RunWanted.STOP)
    assert held(DRAINING, wanted=RunWanted.STOP), "its requests are refused, and do not reach what drains"


def test_a_consistent_snapshot_has_no_problems() -> None:
    good = snap(route("a", Endpoint("r", "127.0.0.1", 1)), route("b"), tokens=(TokenGrant(HASH, ("a",)),))
    assert problems(good) == ()


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (snap(route("a"), route("a", domain="x.localhost")), "service a is there 2 times"),
        (snap(route("a", domain="x"), route("b", domain="x")), "domain x belongs to 2 services"),
        (
            snap(*(replace(route(name), model=PublishedModel("llama")) for name in ("a", "b"))),
            "model 'llama' belongs to 2 services",
        ),
        (
            snap(route("a", Endpoint("r", "127.0.0.1", 9)), route("b", Endpoint("s", "127.0.0.1", 9))),
            "replicas r and s both claim 127.0.0.1:9",
        ),
        (snap(route("a", Endpoint("r", "localhost", 9))), "replica r has no usable address (localhost:9)"),
        (snap(route("a", Endpoint("r", "127.0.0.1", 0))), "replica r has no usable address (127.0.0.1:0)"),
        (snap(tokens=(TokenGrant("X" * 64),)), "a token's hash is not sha256 in lower-case hex"),
        (snap(tokens=(TokenGrant(HASH), TokenGrant(HASH))), "a token is there 2 times"),
        (snap(tokens=(TokenGrant(HASH, (), "a b"),)), "a token's id is no word of letters and digits"),
        (snap(tokens=(TokenGrant(HASH, ("a,b",)),)), "a token names the bad service 'a,b'"),
        (snap(route("A b", domain="a")), "service 'A b' has a name that no host name can carry"),
        (snap(route("a", domain="*")), "service a has a bad domain '*'"),
        (replace(snap(), http_port=0), "gateway local has no usable HTTP port (0)"),
        (replace(snap(), listen_address="x"), "gateway local cannot listen on 'x': not an IP address"),
    ],
)
def test_each_fault_is_one_sentence(bad: GatewaySnapshot, sentence: str) -> None:
    assert problems(bad) == (sentence,)
