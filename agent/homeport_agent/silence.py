"""PURE: what the agent does by itself while the server is unheard.

The rule in one line: what runs goes on, what dies is started again in place, and nothing is made or taken away that
only the server can vouch for. See also Nomad's heartbeatstop, which stops containers instead: a control plane that
is away must never end a service here.
"""

from homeport_agent.model import AssignedReplica, Container


def why_not_start(assigned: AssignedReplica, container_id: str) -> str | None:
    """None: it may be started. Else the sentence why it must wait for the server."""
    if container_id or assigned.secrets_known:
        # An existing container carries its env in itself: starting it again needs nobody.
        return None
    return "waits for the server: its container is gone, and its env values are not kept on this host's disk"


def may_remove(container: Container, listed: frozenset[str], *, server_heard: bool) -> bool:
    """A container that no assignment lists goes only after this process has heard the server say so.

    The journal may be older than the container: the agent can die between accepting an assignment and keeping it.
    """
    return server_heard and container.replica_id not in listed
