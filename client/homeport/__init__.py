"""The Python client of a Homeport server: `from homeport import Client`, or AsyncClient with the same methods.

Cheap to import: gRPC is loaded with the first of the two classes that is named. See docs/python.md.
"""

import os
from typing import TYPE_CHECKING, Any

# Read when gRPC is loaded, so it stands here: its core would print its own lines into the caller's.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from homeport.errors import Denied, Error, Failed, Invalid, NotFound, Refused, TooSlow, Unauthenticated, Unreachable

if TYPE_CHECKING:
    from homeport.aio import AsyncClient
    from homeport.client import Client
    from homeport.operations.deploy import Prepared
    from homeport.operations.output import LogLine

__all__ = [
    "AsyncClient",
    "Client",
    "Denied",
    "Error",
    "Failed",
    "Invalid",
    "LogLine",
    "NotFound",
    "Prepared",
    "Refused",
    "TooSlow",
    "Unauthenticated",
    "Unreachable",
]
_LATER = {
    "AsyncClient": "homeport.aio",
    "Client": "homeport.client",
    "LogLine": "homeport.operations.output",
    "Prepared": "homeport.operations.deploy",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'homeport' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(_LATER[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
