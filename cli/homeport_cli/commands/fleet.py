"""`homeport fleet`: the hosts, and how a new one joins."""

import os
import time
from typing import Annotated

import typer
from homeport import config
from homeport_protos.api.v1 import api_pb2

from homeport_cli import accesstable, hostcard, hosttable, render
from homeport_cli.commands import verbs
from homeport_cli.completing import host_names
from homeport_cli.context import connect, terminal
from homeport_cli.durations import seconds
from homeport_cli.errors import CliError
from homeport_cli.removing import remove_host
from homeport_cli.watch import until_upgraded

app = verbs("The hosts that run services.")
Host = Annotated[str, typer.Argument(metavar="HOST", help="Its name, or its id.", autocompletion=host_names)]


@app.command("list")
def show(as_json: Annotated[bool, typer.Option("--json", help="The API's own objects.")] = False) -> None:
    """List hosts."""
    with connect() as api:
        found = api.hosts()
    screen = terminal()
    screen.data(
        render.json_text(api_pb2.ListHostsResponse(hosts=found))
        if as_json
        else hosttable.hosts(found, time.time(), width=screen.out.width)
    )


@app.command("get")
def get(
    name: Host,
    as_json: Annotated[bool, typer.Option("--json", help="The API's own object.")] = False,
) -> None:
    """Show one host with everything: facts, GPUs, health, readings, processes, and what runs on it."""
    with connect() as api:
        found = [host for host in api.hosts(names=[name], telemetry=True) if name in {host.name, host.id}]
        if not found:
            raise CliError(f"no host {name}; `homeport fleet list` shows all")
        runs = [] if as_json else api.runs()
    terminal().data(render.json_text(found[0]) if as_json else hostcard.host(found[0], runs, time.time()))


Gpus = Annotated[
    list[str] | None,
    typer.Option("--gpu", metavar="UUID", help="Only this GPU, by the beginning of its UUID; repeat it."),
]


@app.command("drain")
def drain(
    host: Host, gpu: Gpus = None, yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False
) -> None:
    """Keep everything new away from a host, or from some of its GPUs, and move its replicas elsewhere."""
    screen = terminal()
    what = f"{len(gpu)} GPU{'s' if len(gpu) > 1 else ''} of {host}" if gpu else f"the host {host}"
    if not screen.confirm(f"Drain {what}?", yes=yes):
        screen.say("Nothing was drained.")
        return
    with connect() as api:
        screen.data(api.drain(host, gpus=gpu or []))


@app.command("undrain")
def undrain(host: Host, gpu: Gpus = None) -> None:
    """Let a host, or some of its GPUs, get replicas again; what was found wrong with them is looked at anew."""
    with connect() as api:
        terminal().data(api.undrain(host, gpus=gpu or []))


@app.command("delete")
def delete(
    host: Host,
    force: Annotated[
        bool, typer.Option("--force", help="At once, whatever is on it: a host that is dead or lost.")
    ] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
) -> None:
    """Take a host out of its fleet for good: its replicas move first, then it cleans itself and forgets the server."""
    screen = terminal()
    if not screen.confirm(f"Remove the host {host} for good?", yes=yes):
        screen.say("Nothing was removed.")
        return
    with connect() as api:
        screen.data(remove_host(api, screen, host, force=force))


@app.command("upgrade")
def upgrade(
    hosts: Annotated[
        list[str] | None, typer.Argument(metavar="[HOST]...", help="Their names.", autocompletion=host_names)
    ] = None,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Do not wait until they are.")] = False,
) -> None:
    """Bring agents to the server's build, one at a time in each fleet; containers go on. Without names: all hosts."""
    screen = terminal()
    with connect() as api:
        answer = api.upgrade_hosts(*(hosts or []))
        for sentence in answer.sentences:
            screen.say(sentence)
        if detach or not answer.hosts:
            return
        failed = until_upgraded(api, screen, answer.hosts, answer.build)
    if failed:
        raise CliError(
            f"{len(failed)} of {len(answer.hosts)} hosts were not upgraded and go on as they were:",
            [f"{name}: {reason}" for name, reason in failed.items()],
        )


@app.command("join-command")
def join_command(
    fleet: Annotated[str, typer.Argument(metavar="[FLEET]", help="The fleet that the host joins.")] = "local",
    ttl: Annotated[str, typer.Option("--ttl", help="How long the line is valid.")] = "1h",
    one_use: Annotated[bool, typer.Option("--one-use", help="For one host only.")] = False,
    address: Annotated[
        str | None,
        typer.Option("--server", metavar="HOST[:PORT]", help="The server's address as the host reaches it."),
    ] = None,
    labels: Annotated[
        list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="What services may ask for; repeat it.")
    ] = None,
) -> None:
    """Print the line that, run on a host, installs the agent and joins it to a fleet. It holds a secret that expires."""
    screen = terminal()
    ttl_s = seconds(ttl, "--ttl")
    with connect() as api:
        answer = api.create_join_token(fleet, ttl_s=ttl_s, one_use=one_use)
    server = config.address(address) if address else config.load(os.environ).server
    screen.data(accesstable.join_command(server, answer.joining, answer.token, labels or []))
    for line in accesstable.join_hint(server, answer.joining, answer.expires_at, time.time()):
        screen.say(line)
