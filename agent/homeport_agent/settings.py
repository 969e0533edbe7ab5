"""Settings of the agent process: frozen, read once from flags and HOMEPORT_* variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_STATE_DIR = "/var/lib/homeport/agent"
DEFAULT_DOCKER_SOCKET = "/var/run/docker.sock"


class BadSettings(Exception):
    """One line: which setting, what is wrong with it."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    state_dir: Path
    docker_socket: str | None = DEFAULT_DOCKER_SOCKET  # None: this host runs no containers, only gateways
    log_format: str = "text"  # or "json"
    envoy_concurrency: int = 0  # Envoy's workers on a gateway host; 0: one per core
    xid_table: Path | None = None  # what the owner says of XID codes; None: xids.toml in the state directory

    def __post_init__(self) -> None:
        if self.log_format not in ("text", "json"):
            raise BadSettings(f"HOMEPORT_LOG_FORMAT is {self.log_format!r}; text or json")


def docker_socket(environment: Mapping[str, str]) -> str | None:
    """HOMEPORT_DOCKER_SOCKET, None where that is `none`; or DOCKER_HOST when it is a socket. Raises BadSettings on another
    kind of DOCKER_HOST."""
    if own := environment.get("HOMEPORT_DOCKER_SOCKET"):
        return None if own == "none" else own.removeprefix("unix://")
    host = environment.get("DOCKER_HOST", "")
    if host and not host.startswith("unix://"):
        # The agent counts this machine's memory, GPUs and ports: containers elsewhere would not be what it says.
        raise BadSettings(f"DOCKER_HOST is {host}: the agent uses the Docker engine of its own machine (unix://…)")
    return host.removeprefix("unix://") or DEFAULT_DOCKER_SOCKET


def from_environment(state_dir: Path | None, environment: Mapping[str, str] = os.environ) -> AgentSettings:
    """Raises BadSettings."""
    workers = environment.get("HOMEPORT_ENVOY_CONCURRENCY", "0")
    if not workers.isdecimal():
        raise BadSettings(f"HOMEPORT_ENVOY_CONCURRENCY is {workers!r}; a number of workers, 0 for one per core")
    return AgentSettings(
        state_dir=state_dir or Path(environment.get("HOMEPORT_AGENT_STATE_DIR", DEFAULT_STATE_DIR)),
        docker_socket=docker_socket(environment),
        log_format=environment.get("HOMEPORT_LOG_FORMAT", "text"),
        envoy_concurrency=int(workers),
        xid_table=Path(table) if (table := environment.get("HOMEPORT_XID_TABLE")) else None,
    )
