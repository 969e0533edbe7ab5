"""What Envoy writes of each request: one line of JSON into `access.log` in its own folder.

Covers the fields. Does not cover where the token's id, the model and its tokens come from (tokens.lua, models.lua,
usage.lua: dynamic metadata), nor how the file is bounded and read (the agent's envoy/access_log).

Never in it: a token, a query (keys stand there), a header that a client made up but for its agent's name.
"""

from typing import Any

from homeport_control.xds.token_filter import FILTER
from homeport_control.xds.wire import typed

FILE = "access.log"  # relative: Envoy runs in its folder, whose path only its host knows
REPLICA_KEY = "replica"  # in an endpoint's metadata (clusters)


def _said(key: str) -> str:
    return f"%DYNAMIC_METADATA({FILTER}:{key})%"


# In alphabetical order, as Envoy writes them; what is not known is null. Times in Envoy's own format, to the millisecond: one
# of our own with more digits takes several us of each request.
FIELDS: dict[str, Any] = {
    "agent": "%REQ(USER-AGENT):200%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "completion_tokens": _said("completion"),
    "duration_ms": "%DURATION%",
    "ended": "%EMIT_TIME%",
    "first_byte_ms": "%RESPONSE_DURATION%",
    "flags": "%RESPONSE_FLAGS%",
    "host": "%REQ(:AUTHORITY):260%",
    "method": "%REQ(:METHOD):20%",
    "model": _said("model"),
    "path": "%PATH(NQ:PATH):1000%",
    "prompt_tokens": _said("prompt"),
    "protocol": "%PROTOCOL%",
    "replica": f"%UPSTREAM_METADATA({FILTER}:{REPLICA_KEY})%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "service": "%ROUTE_NAME%",  # only routes to a service have one; their metadata says the same at five times the cost
    "status": "%RESPONSE_CODE%",
    "time": "%START_TIME%",
    "token": _said("token"),
    "upstream": "%UPSTREAM_HOST%",
    "upstream_ms": "%COMMON_DURATION(US_TX_BEG:US_RX_END:ms)%",
}

# Read of an answer, or found in a body: only ever of a POST.
_OF_A_POST = ("completion_tokens", "model", "prompt_tokens")


def _log(fields: dict[str, Any], *, is_post: bool) -> dict[str, Any]:
    # A request that broke off before its method was read is none, and has its line too.
    header = {"name": ":method", "string_match": {"exact": "POST"}, "treat_missing_header_as_empty": True}
    return {
        "name": "homeport.access",
        "filter": {"header_filter": {"header": header if is_post else {**header, "invert_match": True}}},
        "typed_config": typed(
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            path=FILE,
            log_format={"json_format": fields},
        ),
    }


# Two that write one file, the same line: to ask a request's metadata for what it cannot have takes 1 us for three fields.
ACCESS_LOGS: list[dict[str, Any]] = [
    _log(FIELDS, is_post=True),
    _log({**FIELDS, **dict.fromkeys(_OF_A_POST)}, is_post=False),
]
