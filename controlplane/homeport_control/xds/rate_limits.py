"""`rate_limits` of a service: token buckets in Envoy, one for each caller that a rule tells apart.

Covers the filter in the listener, which alone limits nothing, and what a virtual host says of its own rules. Counts are of
one gateway, over all its workers, and begin anew when routes change.
"""

import math
from typing import Any

from homeport_control.domain.gateway import RateRule
from homeport_control.xds.token_filter import FILTER as TOKEN_FILTER
from homeport_control.xds.wire import typed

FILTER = "homeport.rate"
CALLERS = 10_000  # of one rule that are told apart at one time; the one that was not seen for longest is forgotten

_LIMIT = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
_NO_LIMIT = 4_294_967_295
_ALWAYS = {"runtime_key": "homeport.none", "default_value": {"numerator": 100, "denominator": "HUNDRED"}}
_PREFIX = "rate"
_NO_BUCKET = {"max_tokens": _NO_LIMIT, "tokens_per_fill": _NO_LIMIT, "fill_interval": "1s"}

# Off where a virtual host does not say otherwise: it would be 2 % of each request's instructions.
IN_LISTENER: dict[str, Any] = {
    "name": FILTER,
    "disabled": True,
    "typed_config": typed(_LIMIT, stat_prefix=_PREFIX),
}
# For the virtual host of models, of which a request leaves for that of a service: which filters there are is decided before.
BY_MODEL: dict[str, Any] = {FILTER: typed(_LIMIT, stat_prefix=_PREFIX, token_bucket=_NO_BUCKET)}


def for_host(rules: tuple[RateRule, ...]) -> dict[str, Any]:
    """For the virtual host of a service; empty without rules."""
    if not rules:
        return {}
    config = typed(
        _LIMIT,
        stat_prefix=_PREFIX,
        # Rules are descriptors; what none of them is about meets this bucket.
        token_bucket=_NO_BUCKET,
        filter_enabled=_ALWAYS,
        filter_enforced=_ALWAYS,
        max_dynamic_descriptors=CALLERS,
        rate_limits=[{"actions": actions} for number, rule in enumerate(rules) for actions in _callers(number, rule)],
        descriptors=[
            # An entry without a value stands for every value of its key, each with a bucket of its own.
            {"entries": [{"key": "rule", "value": str(number)}, {"key": _who(rule)}], "token_bucket": _bucket(rule)}
            for number, rule in enumerate(rules)
        ],
        response_headers_to_add=[{"header": {"key": "retry-after", "value": str(_wait_s(rules))}}],
    )
    return {FILTER: config}


def _callers(number: int, rule: RateRule) -> list[list[dict[str, Any]]]:
    """Actions that tell the callers of a rule apart; a list of them for each way to be one."""
    path = {"name": ":path", "string_match": {"prefix": rule.prefix}}
    of_rule = {"header_value_match": {"descriptor_key": "rule", "descriptor_value": str(number), "headers": [path]}}
    if rule.key == "header":
        name = rule.header.lower()
        absent = {"name": name, "present_match": True, "invert_match": True}
        return [
            [of_rule, {"request_headers": {"header_name": name, "descriptor_key": "who"}}],
            # Who sends none is not let off: all of them are one caller.
            [of_rule, {"header_value_match": {"descriptor_key": "who", "descriptor_value": "-", "headers": [absent]}}],
        ]
    if rule.key == "token":
        key = {"key": TOKEN_FILTER, "path": [{"key": "token"}]}
        return [[of_rule, {"metadata": {"descriptor_key": "who", "metadata_key": key, "default_value": "-"}}]]
    address = {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64}  # a host has as many IPv6 addresses as it likes
    return [[of_rule, {"masked_remote_address": address}]]


def _who(rule: RateRule) -> str:
    """The key of the entry that tells callers apart; that of an address is Envoy's own word."""
    return "masked_remote_address" if rule.key == "ip" else "who"


def _bucket(rule: RateRule) -> dict[str, Any]:
    """Tokens come steadily; as many as come in a second, and `burst`, may be taken at once."""
    most = max(1, math.ceil(rule.rps)) + rule.burst
    interval_s = max(1.0, 1 / rule.rps)  # below a second tokens are whole, above there is one
    return {
        "max_tokens": most,
        "tokens_per_fill": max(1, round(rule.rps * interval_s)),
        "fill_interval": f"{interval_s:.3f}s",
    }


def _wait_s(rules: tuple[RateRule, ...]) -> int:
    """After so long any caller may be let in again."""
    return max(math.ceil(1 / rule.rps) for rule in rules)
