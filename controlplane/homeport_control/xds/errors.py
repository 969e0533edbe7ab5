"""The bodies of the answers that the gateway itself gives, in the shape that OpenAI's clients understand.

Covers words only. Does not cover when each is given (listener, token_filter).
"""

from typing import Any


def error(message: str, type_: str, code: str) -> dict[str, Any]:
    """{"error": {...}} as a value; `message` may carry Envoy's %COMMANDS%."""
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


NO_TOKEN = error(
    "No token in this request. Send it as 'Authorization: Bearer <token>'.", "authentication_error", "missing_token"
)
WRONG_TOKEN = error(
    "This token is not valid for this service: it is wrong, expired, revoked, or for other services.",
    "permission_error",
    "invalid_token",
)
NOT_CHECKED = error(
    "The gateway could not check the token of this request; its log says why.", "api_error", "token_check_failed"
)
UNKNOWN_HOST = error(
    "No service is published at %REQ(:AUTHORITY)%. 'homeport ps' lists what is.", "not_found_error", "service_not_found"
)
TOO_LARGE_TO_READ = error(
    "The body of this request is larger than the 32 MiB that the gateway reads to find the model's name in it. "
    "Send less, or call the service by its own address.",
    "invalid_request_error",
    "body_too_large",
)
TOO_LARGE = error(
    "The body of this request is larger than %UPSTREAM_CLUSTER% takes ('max_body_size' in its file).",
    "invalid_request_error",
    "body_too_large",
)
TOO_MANY = error(
    "Too many requests; try again in a moment (the header 'retry-after' says when).",
    "rate_limit_error",
    "rate_limit_exceeded",
)
TOO_SLOW = error(
    "The replica of %UPSTREAM_CLUSTER% did not answer in the time that the service's file gives it.",
    "service_unavailable_error",
    "response_timeout",
)
OVERLOADED = error(
    "The gateway is out of memory for further requests; try again in a moment.",
    "service_unavailable_error",
    "gateway_overloaded",
)
NOT_HELD = error(
    "No replica of this service is ready, and the request could not be held any longer for one: the gateway cannot reach its "
    "server, or too many requests wait. Try again.",
    "service_unavailable_error",
    "not_held",
)
NO_REPLICA = error("No replica of %UPSTREAM_CLUSTER% is ready.", "service_unavailable_error", "no_ready_replica")
NONSENSE = error(
    "A replica of %UPSTREAM_CLUSTER% answered something that is not HTTP, or more headers than the gateway takes.",
    "service_unavailable_error",
    "replica_answer_invalid",
)
BAD_REQUEST = error("This request is not valid HTTP.", "invalid_request_error", "bad_request")
HEADERS_TOO_LARGE = error(
    "The headers of this request are more than 60 KiB, or more than 100.", "invalid_request_error", "headers_too_large"
)
TOO_LATE = error(
    "This request did not come in the time that the gateway waits for it.", "invalid_request_error", "request_timeout"
)
REPLICA_FAILED = error(
    "A replica of %UPSTREAM_CLUSTER% broke the connection before it answered.",
    "service_unavailable_error",
    "replica_failed",
)
