"""How the plan of a fleet, or of a gateway over SSH, and the progress look. Pure: values in, what is shown out."""

from collections.abc import Mapping, Sequence

from homeport_protos.api.v1 import api_pb2
from homeport_protos.ssh.places import Place, Wake
from rich.console import Group, RenderableType
from rich.text import Text

from homeport_cli import gatewaytable
from homeport_cli.render import state_text, table_of


def name_of(place: api_pb2.Place) -> str:
    return place_of(place).name


def place_of(place: api_pb2.Place) -> Place:
    return Place(
        place.hostname,
        place.port,
        place.user,
        place.identity_file,
        place_of(place.jump) if place.HasField("jump") else None,
        Wake(place.wake_mac, place.wake_broadcast) if place.wake_mac else None,
    )


def plan(answer: api_pb2.PlanFleetResponse, fingerprints: Mapping[str, str]) -> RenderableType:
    """What happens with each machine. `fingerprints`: of host keys that are seen for the first time, by name."""
    parts: list[RenderableType] = [
        Text(f"Fleet {answer.name}: {_counts(answer.hosts, on_demand=answer.on_demand)}"),
        "",
    ]
    parts += machines(answer.hosts)
    if answer.on_demand and (kept := _kept(answer.hosts)):
        parts += [Text(f"The server keeps, encrypted, to bring them up when a run needs them: {', '.join(kept)}"), ""]
    return Group(*parts, *new_keys(fingerprints))


def gateway_plan(answer: api_pb2.PlanGatewayResponse, fingerprints: Mapping[str, str]) -> RenderableType:
    """Of one with a machine over SSH."""
    return Group(gatewaytable.plan(answer), *machines(answer.machines), *new_keys(fingerprints))


def machines(hosts: Sequence[api_pb2.FleetHost]) -> list[RenderableType]:
    """What happens with each."""
    table = table_of("HOST", "USER", "VIA", "ACTION", "REASON")
    for host in hosts:
        place = host.place
        via = place.jump.hostname if place.HasField("jump") else ""
        table.add_row(Text(name_of(place)), Text(place.user), Text(via), state_text(host.action), Text(host.reason))
    return [table, ""] if hosts else []


def new_keys(fingerprints: Mapping[str, str]) -> list[RenderableType]:
    if not fingerprints:
        return []
    title = Text("Host keys that are seen for the first time, and trusted from now on:")
    return [title, *(Text(f"  {name}  {fingerprint}") for name, fingerprint in fingerprints.items()), ""]


def _kept(hosts: Sequence[api_pb2.FleetHost]) -> list[str]:
    """Which secrets leave this machine. A password for sudo is one too, where it is asked for."""
    places = [host.place for host in hosts if host.action not in {"gone", "unchanged"}]
    files = [file for it in places for file in (it.identity_file, it.jump.identity_file) if file]
    return [*dict.fromkeys(files), *(["the password for sudo, where it wants one"] if files else [])]


def _counts(hosts: Sequence[api_pb2.FleetHost], *, on_demand: bool = False) -> str:
    words = {
        "new": "to look at" if on_demand else "to install",
        "changed": "to change",
        "repair": "to repair",
        "gone": "to remove",
        "unchanged": "unchanged",
    }
    counted = [(sum(host.action == action for host in hosts), text) for action, text in words.items()]
    return ", ".join(f"{count} {text}" for count, text in counted if count) or "no hosts of its own"


def question(answer: api_pb2.PlanFleetResponse) -> str:
    busy = [f"{host.host} ({host.replicas})" for host in answer.hosts if host.action == "gone" and host.replicas]
    moves = f"; the replicas of {', '.join(busy)} move first" if busy else ""
    return f"{'Make' if answer.action == 'create' else 'Change'} the fleet {answer.name}?{moves}"


def progress(rows: Mapping[str, tuple[str, str]]) -> RenderableType:
    """`rows`: state and step by name."""
    table = table_of("HOST", "STATE", "STEP")
    for name, (state, step) in rows.items():
        table.add_row(Text(name), state_text(state), Text(step, no_wrap=True, overflow="ellipsis"))
    return table
