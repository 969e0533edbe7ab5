"""xds/rate_limits: the buckets that rules become. What they do is tried with a real Envoy (tests/envoy/test_traffic.py)."""

import pytest
from homeport_control.domain.gateway import RateRule
from homeport_control.xds.rate_limits import FILTER, IN_LISTENER, for_host


def test_without_rules_nothing_is_said_and_the_listeners_filter_limits_nothing() -> None:
    assert for_host(()) == {}
    assert set(IN_LISTENER["typed_config"]) == {"@type", "stat_prefix"}
    assert IN_LISTENER["disabled"]


@pytest.mark.parametrize(
    ("rps", "burst", "bucket"),
    [
        (5.0, 0, {"max_tokens": 5, "tokens_per_fill": 5, "fill_interval": "1.000s"}),
        (5.0, 3, {"max_tokens": 8, "tokens_per_fill": 5, "fill_interval": "1.000s"}),
        (0.5, 0, {"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "2.000s"}),
        (1 / 3, 1, {"max_tokens": 2, "tokens_per_fill": 1, "fill_interval": "3.000s"}),
        (100_000.0, 0, {"max_tokens": 100_000, "tokens_per_fill": 100_000, "fill_interval": "1.000s"}),
    ],
)
def test_a_rate_becomes_a_bucket(rps: float, burst: int, bucket: dict[str, object]) -> None:
    config = for_host((RateRule("/", rps, burst),))[FILTER]
    assert config["descriptors"][0]["token_bucket"] == bucket


def test_every_rule_has_its_own_buckets_and_each_way_to_be_a_caller_its_own_actions() -> None:
    rules = (RateRule("/", 1.0), RateRule("/v1", 2.0, 0, "token"), RateRule("/v1", 0.1, 0, "header", "X-Who"))
    config = for_host(rules)[FILTER]
    entries = [[entry.get("value", entry["key"]) for entry in it["entries"]] for it in config["descriptors"]]
    assert entries == [["0", "masked_remote_address"], ["1", "who"], ["2", "who"]]
    kinds = [next(iter(limit["actions"][1])) for limit in config["rate_limits"]]
    assert kinds == ["masked_remote_address", "metadata", "request_headers", "header_value_match"]
    assert config["response_headers_to_add"][0]["header"] == {"key": "retry-after", "value": "10"}
