"""What the Api refuses, as HTTP: its code as a status, its words as they are. PURE.

The statuses are those of google.rpc.Code, with two exceptions: FAILED_PRECONDITION ("no gateway is ready") is 409 and not 400,
since the request itself was good; and there is no 499.
"""

import json
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Failure:
    code: str  # of gRPC, by its name: what a program looks at
    message: str  # one line for a person
    status: int
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, code: grpc.StatusCode, message: str) -> "Failure":
        headers = {"www-authenticate": "Bearer"} if code is grpc.StatusCode.UNAUTHENTICATED else {}
        return cls(code.name, message, STATUSES.get(code, 500), headers)

    @property
    def body(self) -> bytes:
        said = {"error": {"code": self.code, "message": self.message}}
        return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
