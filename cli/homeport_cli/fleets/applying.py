"""`apply` of a fleet, step by step: plan, trust, confirm, keep, install what is new or broken, take out what is gone."""

import asyncio
import getpass
import os
from collections.abc import Sequence

from homeport import Client, Error, config
from homeport.manifest import Manifest
from homeport_protos.api.v1 import api_pb2
from homeport_protos.ssh import remote
from homeport_protos.ssh.places import Place
from homeport_protos.ssh.reach import CannotReach, Reach

from homeport_cli import render, trust
from homeport_cli.context import Terminal
from homeport_cli.errors import CliError, UsageError
from homeport_cli.fleets import show
from homeport_cli.fleets.board import Board
from homeport_cli.fleets.hostkeys import HostKeys
from homeport_cli.fleets.keys import Keys
from homeport_cli.fleets.registering import Registering, Source
from homeport_cli.removing import remove_host

AT_ONCE = 64


def apply(
    api: Client, terminal: Terminal, source: Manifest, *, yes: bool, only_plan: bool, as_json: bool, force: bool
) -> None:
    """Raises Error."""
    asyncio.run(_apply(api, terminal, source, yes=yes, only_plan=only_plan, as_json=as_json, force=force))


async def _apply(
    api: Client, terminal: Terminal, source: Manifest, *, yes: bool, only_plan: bool, as_json: bool, force: bool
) -> None:
    settings = config.load(os.environ)
    planned = api.plan_fleet(source.document_json)
    _refuse(source, planned.problems)
    host_keys = HostKeys(config.path(os.environ).parent / "known_hosts")
    keys = Keys(interactive=terminal.interactive)
    reach = Reach(keys, host_keys)
    try:
        touched = [host for host in planned.hosts if host.action != "unchanged" or force]
        fingerprints = await get_to_know(reach, host_keys, touched)
        (terminal.data if only_plan else terminal.say)(
            render.json_text(planned) if as_json else show.plan(planned, fingerprints)
        )
        if only_plan:
            return
        if planned.action == "unchanged" and not force:
            terminal.say(f"The fleet {planned.name} is unchanged: nothing to do (--force installs all the same).")
            return
        if not terminal.confirm(show.question(planned), yes=yes):
            terminal.say("Nothing was changed.")
            return
        keep(host_keys, terminal)
        applied = api.apply_fleet(source.document_json, server=settings.server, reinstall=force)
        _refuse(source, applied.problems)
        failed = await install(api, terminal, reach, keys, applied.name, applied.installs, settings)
        gone = [host for host in planned.hosts if host.action == "gone" and host.host]
        failed |= await _take_out(api, terminal, reach, gone)
    finally:
        await reach.close()
    if failed:
        total = len(applied.installs) + len(gone)
        raise CliError(
            f"{len(failed)} of {total} hosts failed; the others are done. Put it right and apply again:",
            [f"{name}: {reason}" for name, reason in failed.items()],
        )
    if not planned.hosts:
        terminal.say(f"Hosts join it by themselves: homeport fleet join-command {planned.name}")
    terminal.data(f"Fleet {planned.name} is as the file says.")


async def get_to_know(reach: Reach, host_keys: HostKeys, touched: Sequence[api_pb2.FleetHost]) -> dict[str, str]:
    """Fingerprints of the keys that are seen for the first time; they are accepted for this run.

    A machine that shows none is left to the installation, which says why.
    """
    fingerprints: dict[str, str] = {}
    limit = asyncio.Semaphore(AT_ONCE)

    async def look(place: Place) -> None:
        async with limit:
            try:
                key = await reach.unknown_key(place)
            except CannotReach:
                return
        if key is not None:
            host_keys.accept(place.hostname, place.port, key)
            fingerprints[place.name] = f"{key.get_algorithm()} {key.get_fingerprint()}"

    places = [show.place_of(host.place) for host in touched]
    jumps = {place.jump.address: place.jump for place in places if place.jump is not None}
    await asyncio.gather(*(look(jump) for jump in jumps.values()))  # the way to the others leads through them
    await asyncio.gather(*(look(place) for place in places))
    return dict(sorted(fingerprints.items()))


def keep(host_keys: HostKeys, terminal: Terminal) -> None:
    try:
        host_keys.keep()
    except OSError as error:
        terminal.say(f"{error.filename} cannot be written ({error.strerror}): the keys will be shown as new again")


def server_host(settings: config.Config) -> str:
    """The server as machines reach it. Raises UsageError."""
    host = settings.server.rpartition(":")[0]
    if host in {"localhost", "[::1]"} or host.startswith("127."):
        raise UsageError(
            f"hosts cannot reach the server as {settings.server}; log in by the address that they reach it by: "
            "homeport login --server ADDRESS (and start the server with --bind)"
        )
    return host


async def install(
    api: Client,
    terminal: Terminal,
    reach: Reach,
    keys: Keys,
    fleet: str,
    installs: Sequence[api_pb2.Install],
    settings: config.Config,
) -> dict[str, str]:
    """Why those failed that did, by name. Raises Error."""
    if not installs:
        return {}
    host = server_host(settings)
    joining = api.server().joining
    script = trust.fetch(host, joining.web_port, "/install.sh", settings.ca_pem).decode()
    source = Source.of(fleet, script, settings.server, joining.web_port)
    names = [show.name_of(it.place) for it in installs]

    reach.load_keys(show.place_of(it.place) for it in installs)  # asks, before anything is drawn
    board = Board(terminal, names)

    def ask_password(which: list[str]) -> str:
        if not terminal.interactive:
            raise CliError("sudo wants a password and there is nobody to ask; allow it without one, or use a terminal")
        with board.paused():
            return getpass.getpass(f"Password for sudo on {', '.join(which)}: ")

    with board:
        registering = Registering(api, reach, keys, board, source, ask_password)
        await registering.run(installs)
    return registering.failed


async def _take_out(api: Client, terminal: Terminal, reach: Reach, gone: Sequence[api_pb2.FleetHost]) -> dict[str, str]:
    """Drain, remove, and clean over SSH as far as it is reached: the rest it does by itself."""
    failed: dict[str, str] = {}
    for host in gone:
        try:
            terminal.say(remove_host(api, terminal, host.host, force=False))
        except Error as error:
            failed[show.name_of(host.place)] = str(error)
            continue
        await clean(terminal, reach, host)
    return failed


async def clean(terminal: Terminal, reach: Reach, host: api_pb2.FleetHost) -> None:
    """Nothing of us is left on a machine that was removed; where it is not reached, it is said what to do."""
    try:
        async with reach.to(show.place_of(host.place)) as ssh:
            await remote.uninstall(ssh, await remote.become_root(ssh))
    except (CannotReach, remote.WantsPassword) as error:
        terminal.say(
            f"{show.name_of(host.place)}: {error or 'sudo wants a password'}; its agent has forgotten the server, the "
            "rest goes with: sudo sh /opt/homeport/install.sh --uninstall"
        )


def _refuse(source: Manifest, problems: Sequence[api_pb2.Problem]) -> None:
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise UsageError(f"{source.path} has {count}:", source.problem_lines(problems))
