"""What a shell may complete that only the server knows: the names of runs, hosts and gateways.

Quick or nothing: a shell waits for it at each press of the key, and an error there has no place to go.
"""

import contextlib

DEADLINE_S = 1.0


def host_names(incomplete: str) -> list[str]:
    """Names of hosts that begin so; nothing when the server does not say so within a second."""
    with contextlib.suppress(Exception):
        from homeport import Client

        with Client(deadline_s=DEADLINE_S) as api:
            return sorted({host.name for host in api.hosts() if host.name.startswith(incomplete)})
    return []


def run_names(incomplete: str) -> list[str]:
    """Names of runs that are not finished and begin so; nothing when the server does not say so within a second."""
    with contextlib.suppress(Exception):
        from homeport import Client

        with Client(deadline_s=DEADLINE_S) as api:
            return sorted({run.name for run in api.runs() if run.name.startswith(incomplete)})
    return []


def gateway_names(incomplete: str) -> list[str]:
    """Names of gateways that begin so; nothing when the server does not say so within a second."""
    with contextlib.suppress(Exception):
        from homeport import Client

        with Client(deadline_s=DEADLINE_S) as api:
            return sorted({it.name for it in api.gateways() if it.name.startswith(incomplete)})
    return []
