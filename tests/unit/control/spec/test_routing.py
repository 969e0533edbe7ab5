"""spec/routing: what goes together in `load_balancing` and `timeouts`."""

import pytest
from homeport_control.spec.reading import read
from homeport_control.spec.routing import LoadBalancing, Timeouts


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({}, LoadBalancing()),
        ({"affinity": "cookie"}, LoadBalancing(affinity="cookie")),
        ({"affinity": "cookie", "name": "where"}, LoadBalancing(affinity="cookie", name="where")),
        ({"affinity": "header", "name": "X-Who"}, LoadBalancing(affinity="header", name="X-Who")),
        ({"affinity": "prefix", "prefix_bytes": 64}, LoadBalancing(affinity="prefix", prefix_bytes=64)),
        ({"affinity": "header"}, None),
        ({"affinity": "header", "name": "Authorization"}, None),
        ({"affinity": "header", "name": "x y"}, None),
        ({"affinity": "prefix", "name": "x"}, None),
        ({"affinity": "prefix", "prefix_bytes": 5}, None),
        ({"affinity": "cookie", "prefix_bytes": 64}, None),
        ({"affinity": "random"}, None),
        ({"name": "x"}, None),
    ],
)
def test_the_keys_belong_to_the_affinity(document: dict[str, object], found: LoadBalancing | None) -> None:
    assert read(LoadBalancing, document)[0] == found


def test_it_may_be_one_word() -> None:
    assert LoadBalancing.long_form("prefix") == {"affinity": "prefix"}
    assert LoadBalancing.long_form("least_request") == {}


def test_timeouts_may_be_off_but_not_nothing() -> None:
    assert read(Timeouts, {"response": "90s", "idle": "off"})[0] == Timeouts(response_s=90, idle_s=None)
    assert read(Timeouts, {})[0] == Timeouts(response_s=None, idle_s=3600)
    assert read(Timeouts, {"idle": 0})[0] is None
