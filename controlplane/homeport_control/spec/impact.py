"""How a change of a service's configuration is made: in place, or by replacing its replicas one by one.

A verdict for every key, in one table. In place is what the running container does not depend on: how it is reached,
how many there are, how it is stopped and replaced, and where later ones may be placed. Does not cover what differs
(diff), or the carrying out (api.updating).
"""

from collections.abc import Iterable
from typing import Literal

from homeport_control.spec.diff import Change

How = Literal["in place", "rolling"]
IN_PLACE: How = "in place"
ROLLING: How = "rolling"

# Also `hosts` and the like: a replica stays where it is; the next one is placed by the new words.
WHERE_IT_MAY_RUN = frozenset(
    {
        "creation_policy", "idle_duration", "spot_policy", "max_price", "backends", "regions", "instance_types", "fleets",
        "hosts", "host_labels",
    }
)  # fmt: skip
_IN_PLACE = WHERE_IT_MAY_RUN | {
    "registry_auth", "repo", "replicas", "scaling", "retry", "rollout", "gateway", "auth", "forward_token", "https", "model",
    "rate_limits", "load_balancing", "timeouts", "max_body_size", "protocol", "max_duration", "stop_duration",
    "start_timeout",
}  # fmt: skip
_ROLLING = frozenset(
    {
        "type", "name", "image", "python", "nvcc", "entrypoint", "commands", "shell", "working_dir", "user", "home_dir",
        "env", "port", "resources", "volumes", "files", "privileged", "probes", "code",
    }
)  # fmt: skip
VERDICTS: dict[str, How] = {**dict.fromkeys(_IN_PLACE, IN_PLACE), **dict.fromkeys(_ROLLING, ROLLING)}


def key_of(path: str) -> str:
    """The top key of a change's path: `resources` of `resources.gpu.count`, `code` of `code/app.py`."""
    for mark in ".[/":
        path = path.partition(mark)[0]
    return path


def how_of(path: str) -> How:
    """A key without a verdict is replaced for, which is never wrong."""
    return VERDICTS.get(key_of(path), ROLLING)


def strongest(changes: Iterable[Change]) -> How:
    """Of no change at all: in place."""
    return ROLLING if any(how_of(change.path) == ROLLING for change in changes) else IN_PLACE
