"""What the API refuses, as HTTP says it. PURE.

The statuses are those of google.rpc.Code, with two exceptions: FAILED_PRECONDITION ("no gateway is ready") is 409 and not 400,
since the request itself was good; and there is no 499.
"""

import grpc

STATUSES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.CANCELLED: 503,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


def status_of(code: grpc.StatusCode) -> int:
    """Of HTTP, for what a page answers in place of what failed."""
    return STATUSES.get(code, 500)
