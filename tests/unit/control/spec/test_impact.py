"""spec/impact: a verdict for every key, and none for what is no key."""

import pytest
from homeport_control.spec.diff import Change
from homeport_control.spec.impact import IN_PLACE, ROLLING, VERDICTS, How, how_of, key_of, strongest
from homeport_control.spec.service import ServiceSpec

KEYS = {field.alias or name for name, field in ServiceSpec.model_fields.items()}

EXPECTED: dict[str, How] = {
    "type": ROLLING,
    "name": ROLLING,
    "image": ROLLING,
    "python": ROLLING,
    "nvcc": ROLLING,
    "registry_auth": IN_PLACE,
    "entrypoint": ROLLING,
    "commands": ROLLING,
    "shell": ROLLING,
    "working_dir": ROLLING,
    "user": ROLLING,
    "home_dir": ROLLING,
    "env": ROLLING,
    "port": ROLLING,
    "resources": ROLLING,
    "volumes": ROLLING,
    "files": ROLLING,
    "repo": IN_PLACE,
    "privileged": ROLLING,
    "replicas": IN_PLACE,
    "scaling": IN_PLACE,
    "probes": ROLLING,
    "retry": IN_PLACE,
    "rollout": IN_PLACE,
    "gateway": IN_PLACE,
    "auth": IN_PLACE,
    "forward_token": IN_PLACE,
    "https": IN_PLACE,
    "model": IN_PLACE,
    "rate_limits": IN_PLACE,
    "load_balancing": IN_PLACE,
    "timeouts": IN_PLACE,
    "max_body_size": IN_PLACE,
    "protocol": IN_PLACE,
    "max_duration": IN_PLACE,
    "stop_duration": IN_PLACE,
    "start_timeout": IN_PLACE,
    "creation_policy": IN_PLACE,
    "idle_duration": IN_PLACE,
    "spot_policy": IN_PLACE,
    "max_price": IN_PLACE,
    "backends": IN_PLACE,
    "regions": IN_PLACE,
    "instance_types": IN_PLACE,
    "fleets": IN_PLACE,
    "hosts": IN_PLACE,
    "host_labels": IN_PLACE,
    "code": ROLLING,  # what is sent along
}


def test_every_key_of_a_service_has_a_verdict() -> None:
    assert set(EXPECTED) == KEYS | {"code"}, "a new key needs a verdict here and in impact.py"
    assert EXPECTED == VERDICTS


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("image", "image"),
        ("resources.gpu.count", "resources"),
        ("probes[0].headers[1].value", "probes"),
        ("env.A[B].c", "env"),
        ("code/app.py", "code"),
        ("code/a.b/c[1].py", "code"),
        ("files/etc/app.conf", "files"),
        ("max_duration", "max_duration"),
    ],
)
def test_a_path_is_its_top_keys(path: str, key: str) -> None:
    assert key_of(path) == key
    assert how_of(path) == VERDICTS[key]


def test_what_has_no_verdict_is_replaced_for() -> None:
    assert how_of("something.new") == ROLLING


def test_one_change_that_needs_replacing_makes_all_of_it_rolling() -> None:
    in_place, rolling = Change("auth", "true", "false"), Change("env.A", "", "***")
    assert strongest([]) == strongest([in_place]) == IN_PLACE
    assert strongest([in_place, rolling]) == strongest([rolling]) == ROLLING
