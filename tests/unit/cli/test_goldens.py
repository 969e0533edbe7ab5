"""What the command line shows, letter by letter: tests/golden/*.txt, for two widths, with and without colour, and for a pipe.

`UPDATE_GOLDEN=1 pytest tests/unit/cli/test_goldens.py` writes them anew; read the difference before you commit it.
"""

import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from homeport_cli import accesstable, checks, gatewaytable, hostcard, hosttable, progress, render, toptext
from homeport_cli.context import Terminal, _console
from homeport_cli.eventtext import EventText
from homeport_cli.fleets import show
from homeport_cli.usage import usage
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2
from rich.console import RenderableType

FOLDER = Path(__file__).parents[2] / "golden"
NOW_S = 1_800_000_000.0
MODES: dict[str, dict[str, str]] = {
    "80 columns": {"COLUMNS": "80"},
    "160 columns": {"COLUMNS": "160"},
    "80 columns, NO_COLOR": {"COLUMNS": "80", "NO_COLOR": "1"},
    "a pipe": {},
}


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def at(ago_s: float) -> Timestamp:
    return Timestamp(seconds=int(NOW_S - ago_s))


def replica(index: int, **more: object) -> api_pb2.Replica:
    values: dict[str, object] = {
        "id": f"r{index}", "index": index, "revision": 1, "host": "gpu-1", "backend": "agent", "gpus": "A5000:24GB:1",
        "state": "running", "in_rotation": True, "probes_passed": 1, "probes_total": 1, "submitted_at": at(60),
    }  # fmt: skip
    return api_pb2.Replica(**{**values, **more})


def run(name: str, *replicas: api_pb2.Replica, **more: object) -> api_pb2.Run:
    values: dict[str, object] = {
        "id": name, "name": name, "state": "running", "revision": 1, "newest_revision": 1,
        "replicas_wanted": len(replicas), "submitted_at": at(180), "replicas": replicas,
    }  # fmt: skip
    return api_pb2.Run(**{**values, **more})


RUNS = [
    run("llama-chat", replica(0), replica(1)),
    run(
        "embeddings",
        replica(0, revision=2),
        replica(1, host="gpu-2", state="draining", in_rotation=False),
        revision=2, newest_revision=2, replicas_wanted=1, submitted_at=at(7200),
    ),
    run(
        "big-model", state="pending", replicas_wanted=1, submitted_at=at(5),
        reason="0 of 3 hosts fit: 2 need 80GB on 1 GPU, largest free 24GB; 1 is unreachable since 12 s",
    ),
    run(
        "web", replica(0, gpus="", state="pulling", in_rotation=False, probes_passed=0, submitted_at=at(9)),
        state="provisioning", submitted_at=at(10),
    ),
]  # fmt: skip
UUIDS = ("GPU-5d3c1a0e-0b8f-4a6b-9a53-0d6c1f2e7a10", "GPU-9e1b7c22-51aa-4b0e-8d4f-6a7f0c3e9b21")
GPUS = [
    host_pb2.Gpu(
        uuid=uuid, name="A5000", memory_total_mib=24576, memory_used_mib=11000 * n, driver_version="550.1",
        cuda_version="12.4", architecture="Ampere", compute_capability="8.6", pci_bus_id=f"00000000:{17 + n}:00.0",
        compute_mode="default", persistence_mode=True, near=[host_pb2.GpuNear(uuid=UUIDS[1 - n], path="NV4")],
    )
    for n, uuid in enumerate(UUIDS)
]  # fmt: skip
GPUS[1].processes.add(pid=3123, name="python3", memory_mib=11000)
FACTS = host_pb2.HostFacts(
    hostname="gpu-1", os="Ubuntu 24.04", kernel="6.8.0", architecture="x86_64", cpus=24, memory_mib=65536,
    memory_available_mib=50000, disk_total_mib=900000, disk_free_mib=400000, docker_version="27.1", gpus=GPUS,
)  # fmt: skip
READINGS = [
    host_pb2.GpuReading(
        uuid=uuid, memory_used_mib=11000 * n, utilisation=0.87 * n, temperature_c=41 + 20 * n, power_w=60 + 150 * n,
        power_limit_w=230, sm_clock_mhz=1410, memory_clock_mhz=5001, ecc_volatile_corrected=0,
        ecc_volatile_uncorrected=n, pcie_replays=0, throttled=["sw-power-cap"] * n,
    )
    for n, uuid in enumerate(UUIDS)
]  # fmt: skip
SICK = host_pb2.Finding(
    gpu_uuid=UUIDS[1], code="xid-48", severity="failing", since_s=NOW_S - 130, reason="XID 48: double-bit ECC error",
    action="drain the GPU and reset it, or reboot the host",
)  # fmt: skip
HOSTS = [
    api_pb2.Host(
        id="h1", name="gpu-1", fleet="lab", address="10.0.0.11", resources="24xCPU, 64GB, A5000:24GB:2", state="busy",
        connection="connected", health="failing", created_at=at(86400 * 3), facts=FACTS, replicas=3, findings=[SICK],
        gpu_readings=READINGS, labels={"rack": "b2"},
        gpus=[api_pb2.GpuUse(uuid=UUIDS[0], health="healthy", holders=["llama-chat/0"]),
              api_pb2.GpuUse(uuid=UUIDS[1], health="failing")],
        reading=host_pb2.HostReading(cpu=0.23, load=[1.2, 1.0, 0.5], memory_used_mib=15536, docker="answers",
                                     network_received_bytes_s=1.2e6, network_sent_bytes_s=3e5, clock_offset_s=0.01),
    ),
    api_pb2.Host(id="h2", name="gpu-2", fleet="lab", address="10.0.0.12", resources="8xCPU, 32GB", state="idle",
                 connection="unreachable", health="healthy", created_at=at(3600), reason="the connection broke"),
]  # fmt: skip
OFFERS = [
    api_pb2.Offer(backend="agent", region="remote", host="gpu-1", resources="24xCPU, 64GB, A5000:24GB:2",
                  availability="idle"),
    api_pb2.Offer(backend="agent", region="basement", host="gpu-3", resources="8xCPU, 32GB, A100:80GB:1",
                  availability="busy", price=1.5, spot=True),
]  # fmt: skip
REFUSALS = [
    api_pb2.Refusal(host="gpu-2", reason="is unreachable since 12 s: the connection broke"),
    api_pb2.Refusal(
        host="gpu-3", reason="needs 24GB on 1 GPU, largest free 11.2GB (pid 3123 python3 holds 12.8GB of 24GB)"
    ),
]
PROPERTIES = [
    api_pb2.Property(name=name, value=value)
    for name, value in (
        ("User", "ann"), ("Configuration", "service"), ("Name", "web"), ("Image", "ghcr.io/example/web:1.2"),
        ("Resources", "2..xCPU, 16GB.., A5000:24GB:1"), ("Replicas", "2"), ("Port", "8000"),
    )
]  # fmt: skip
CHANGES = [
    api_pb2.Change(path="image", old="ghcr.io/example/web:1.1", new="ghcr.io/example/web:1.2", how="rolling"),
    api_pb2.Change(path="env.TOKEN", old="***", new="***", how="rolling"),
    api_pb2.Change(path="replicas", old="1", new="2", how="in place"),
    api_pb2.Change(path="probes[0].url", new="/health", how="rolling"),
]
TOKENS = [
    api_pb2.Token(id="1f", name="admin", role="admin", created_at=at(86400 * 9), user="admin"),
    api_pb2.Token(id="2e", name="chat-app", role="service", services=["llama-chat", "embeddings"], user="ann",
                  created_at=at(3600), expires_at=at(-86400)),
    api_pb2.Token(id="3d", name="old", role="user", user="ben", created_at=at(86400), revoked_at=at(60)),
]  # fmt: skip
EVENTS = [
    api_pb2.Event(id=1, at=at(60), kind="run", name="web", actor="user ann", cause_id="3f0c9a6be21d",
                  sentence="web was submitted with revision 1"),
    api_pb2.Event(id=2, at=at(59), kind="replica", name="web/0", actor="host gpu-1", cause_id="3f0c9a6be21d",
                  sentence="replica 0 of web is pulling its image"),
]  # fmt: skip
METRICS = api_pb2.MetricsResponse(
    requests_per_s=12.5, in_flight=3, held=2,
    answers=api_pb2.ServiceAnswers(success_per_s=12.0, client_error_per_s=0.3, server_error_per_s=0.2, p50_ms=12.4, p99_ms=340),
    replicas=[
        api_pb2.ReplicaMetrics(index=0, host="gpu-1", state="running", cpu_cores=1.25, cpu_limit=4, memory_mib=2048,
                               memory_limit_mib=16384, requests_per_s=12.5, in_flight=3,
                               gpu_memory_reserved_mib=24576, gpu_memory_peak_mib=17715,
                               gpus=[api_pb2.GpuMetrics(name="A5000", memory_used_mib=11000, memory_total_mib=24576,
                                                        utilisation=0.87)]),
        api_pb2.ReplicaMetrics(index=1, host="gpu-2", state="pulling", message="there is no container yet"),
    ],
)  # fmt: skip
GATEWAYS = [
    api_pb2.Gateway(
        name="local", domain="localhost", ready=True, host="box", example_url="http://NAME.localhost:7480", default=True
    ),
    api_pb2.Gateway(
        name="main",
        domain="example.com",
        example_url="http://NAME.example.com",
        message="port 443 is taken by pid 811 (nginx)",
    ),
    api_pb2.Gateway(
        name="edge",
        domain="edge.example.com",
        example_url="https://NAME.edge.example.com",
        wanted_host="ops@edge.example.com",
        message="ops@edge.example.com: connecting failed: no route to host; next try: when the gateway is applied again",
    ),
]
GATEWAY_PLAN = api_pb2.PlanGatewayResponse(
    name="main", action="update",
    properties=[
        api_pb2.Property(name="Name", value="main"),
        api_pb2.Property(name="Host", value="ops@edge.example.com over SSH: it runs gateways only"),
    ],
    changes=[api_pb2.Change(path="host", old="ops@old", new="ops@edge.example.com", how="names must point to that")],
    machines=[
        api_pb2.FleetHost(place=api_pb2.Place(hostname="edge.example.com", port=22, user="ops"), action="new",
                          reason="agent and Envoy are installed"),
        api_pb2.FleetHost(place=api_pb2.Place(hostname="old", port=22, user="ops"), action="gone",
                          reason="no gateway is on it any more", host="old-1"),
    ],
)  # fmt: skip
CHECKS = [checks.git("/usr/bin/git"), checks.clock(12.0), *checks.hosts(HOSTS)]
REFUSED = api_pb2.ListOffersResponse(refusals=REFUSALS)
CREATE = api_pb2.PlanResponse(
    run_name="web", action="create", properties=PROPERTIES, offers=OFFERS, refusals=REFUSALS, plan_token="new"
)
UPDATE = api_pb2.PlanResponse(
    run_name="web", action="update", properties=PROPERTIES, changes=CHANGES, offers=OFFERS[:1], how="rolling",
    how_because="its replicas are replaced one by one, a new one serves before an old one leaves",
)  # fmt: skip
PULLING = run(
    "web",
    replica(0, state="pulling", in_rotation=False, pulled_bytes=120_000_000, pull_total_bytes=1_200_000_000),
    replica(
        1, host="gpu-2", state="probing", in_rotation=False, probes_passed=0, restarts=1, message="connection refused"
    ),
    state="provisioning",
)

SHOWN: dict[str, Callable[[int], RenderableType]] = {  # of the screen's width
    "ps": lambda width: render.runs(RUNS, NOW_S, width=width),
    "ps-alike": lambda width: render.runs(RUNS[:1], NOW_S, width=width),
    "ps-verbose": lambda width: render.runs(RUNS, NOW_S, verbose=True, width=width),
    "ps-empty": lambda width: render.runs([], NOW_S, width=width),
    "fleet-list": lambda width: hosttable.hosts(HOSTS, NOW_S, width),
    "fleet-get": lambda _: hostcard.host(HOSTS[0], RUNS, NOW_S),
    "gateway-plan": lambda _: show.gateway_plan(GATEWAY_PLAN, {"edge.example.com": "ssh-ed25519 SHA256:2Rw0kP"}),
    "gateway-list": lambda _: gatewaytable.gateways(GATEWAYS),
    "offer": lambda _: render.offered(api_pb2.ListOffersResponse(offers=OFFERS, refusals=REFUSALS)),
    "offer-none": lambda _: render.offered(REFUSED),
    "plan-create": lambda _: render.plan(CREATE),
    "plan-update": lambda _: render.plan(UPDATE),
    "progress": lambda _: progress.live(PULLING),
    "token-list": lambda _: accesstable.tokens(TOKENS, NOW_S),
    "event": lambda _: "\n".join(EventText().lines(EVENTS)),
    "metrics": lambda width: usage("web", METRICS, width),
    "top": lambda width: toptext.picture(HOSTS, width, 24),
    "doctor": lambda _: "\n".join(map(str, CHECKS)),
}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("COLORTERM", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def pictures(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    parts = []
    for mode, settings in MODES.items():
        with monkeypatch.context() as environment:
            for variable, value in settings.items():
                environment.setenv(variable, value)
            stream = Screen() if settings else io.StringIO()
            terminal = Terminal(out=_console(stream), err=_console(io.StringIO()), interactive=False)
            terminal.data(SHOWN[name](terminal.out.width))
        text = stream.getvalue().replace("\x1b[", "␛").replace("\r", "␍")
        parts.append(f"== {mode}\n" + "".join(f"{line}|\n" for line in text.splitlines()))
    return "\n".join(parts)


@pytest.mark.parametrize("name", SHOWN)
def test_it_looks_as_it_did(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = FOLDER / f"{name}.txt"
    now = pictures(name, monkeypatch)
    if os.environ.get("UPDATE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        file.write_text(now)
    assert file.exists(), "write it with UPDATE_GOLDEN=1"
    assert now == file.read_text()


@pytest.mark.parametrize("name", SHOWN)
def test_no_colour_where_none_is_wanted_and_no_line_is_wider_than_the_screen(name: str) -> None:
    parts = dict(part.split("\n", 1) for part in (FOLDER / f"{name}.txt").read_text().split("== ")[1:])
    for mode in ("80 columns, NO_COLOR", "a pipe"):
        colours = [code for code in ("31m", "32m", "33m") if f"␛{code}" in parts[mode]]
        assert colours == []
    assert "␛" not in parts["a pipe"]
    # Text that is not a table is left to the terminal to fold; so are events and checks.
    if name not in {"event", "doctor"}:
        assert (
            max(
                len(line.rstrip("|"))
                for line in parts["80 columns, NO_COLOR"].replace("␛1m", "").replace("␛0m", "").splitlines()
            )
            <= 80
        )


def test_every_picture_is_one_of_these() -> None:
    assert {file.stem for file in FOLDER.glob("*.txt")} == set(SHOWN)
