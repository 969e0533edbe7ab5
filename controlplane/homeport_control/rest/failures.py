"""What the Api refuses, as HTTP: its code as a status, its words as they are. PURE."""

import json
from dataclasses import dataclass, field

import grpc

from homeport_control.relay.statuses import status_of


@dataclass(frozen=True, slots=True)
class Failure:
    code: str  # of gRPC, by its name: what a program looks at
    message: str  # one line for a person
    status: int
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, code: grpc.StatusCode, message: str) -> "Failure":
        headers = {"www-authenticate": "Bearer"} if code is grpc.StatusCode.UNAUTHENTICATED else {}
        return cls(code.name, message, status_of(code), headers)

    @property
    def body(self) -> bytes:
        said = {"error": {"code": self.code, "message": self.message}}
        return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
