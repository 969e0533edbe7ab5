"""Settings of the server process: frozen, read once from flags and HOMEPORT_* variables."""

import socket
from dataclasses import dataclass, field
from pathlib import Path

from homeport_control.spec.base_image import DEFAULT_TEMPLATE
from homeport_control.store.place import Place


@dataclass(frozen=True, slots=True)
class ServerSettings:
    state_dir: Path
    bind: str = "127.0.0.1"  # the API, the agents' port and the web port; the gateway has its own address
    api_port: int = 7400
    link_port: int = 7401
    web_port: int = 7402
    edge_port: int = 7403  # of gateways' hosts: where hosts dial in that these cannot dial
    gateway_address: str = "127.0.0.1"
    gateway_port: int = 7480
    domain: str = "localhost"
    report_interval_s: float = 2.0  # agents report at least this often
    missed_reports: int = 3  # silent for this many: unreachable
    lost_after_s: float = 10.0  # unreachable for this long: its replicas are replaced
    ready_timeout_s: float = 600.0  # a first start that is not ready by then has failed
    base_image: str = DEFAULT_TEMPLATE  # what a service without `image` runs in, when its next replica starts
    database_url: str = field(
        default="", repr=False
    )  # of PostgreSQL, with its password; empty: a file of the state directory

    name: str = ""  # of this server among several; empty: the machine's
    advertise: str = ""  # host or host:port where other servers reach its link port

    @property
    def own_link(self) -> str:
        """Where this server reaches its own link port, with a port."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.bind, self.bind)  # noqa: S104
        return f"[{host}]:{self.link_port}" if ":" in host else f"{host}:{self.link_port}"

    @property
    def advertised(self) -> str:
        """With a port. What it binds to when nothing else is said, and its machine's name when that is every address."""
        anywhere = self.bind in {"0.0.0.0", "::"}  # noqa: S104
        host = self.advertise or (socket.gethostname() if anywhere else self.bind)
        if (host.startswith("[") and "]:" in host) or host.count(":") == 1:
            return host
        host = host.strip("[]")
        return f"[{host}]:{self.link_port}" if ":" in host else f"{host}:{self.link_port}"

    @property
    def database(self) -> Place:
        return self.database_url or self.state_dir / "homeport.db"

    @property
    def code(self) -> Path:
        """What was sent along with services."""
        return self.state_dir / "code"
