"""Everything that a client can do, each thing once: from arguments to steps and streams, and from answers to values.

Nothing here calls anything: `client` and `aio` do, and their methods are these functions. Floors: the transports > operations >
steps > methods.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_args

Method = TypeVar("Method", bound=Callable[..., object])


def as_method(method: Method, operation: Callable[..., object], many: Any = None) -> Method:
    """Name, help and signature of a method that does an operation: the operation's, with `self`.

    `many`: what it returns of a stream's items, such as Iterator; None: it returns the result of the steps.
    """
    method.__name__ = method.__qualname__ = operation.__name__
    method.__doc__ = operation.__doc__
    self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    signature = inspect.signature(operation)
    result = get_args(signature.return_annotation)[-1]  # of Steps[result], or Stream[result]
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[self, *signature.parameters.values()], return_annotation=many[result] if many else result
    )
    return method
