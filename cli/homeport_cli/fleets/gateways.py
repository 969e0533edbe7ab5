"""`apply` of a gateway on a machine that is reached by SSH: it is installed like a host of a fleet; and taking it out again.

What it does not cover: gateways on hosts that are there already (`homeport_cli.gateways`).
"""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from homeport import Client, config
from homeport.manifest import Manifest
from homeport_protos.api.v1 import api_pb2
from homeport_protos.ssh.reach import Reach

from homeport_cli import gateways, render
from homeport_cli.context import Terminal
from homeport_cli.errors import CliError
from homeport_cli.fleets import applying, show
from homeport_cli.fleets.hostkeys import HostKeys
from homeport_cli.fleets.keys import Keys


async def apply(
    api: Client,
    terminal: Terminal,
    source: Manifest,
    planned: api_pb2.PlanGatewayResponse,
    *,
    yes: bool,
    detach: bool,
    only_plan: bool,
    as_json: bool,
    force: bool,
) -> str:
    """What came of it; empty: nothing was done. Raises Error."""
    settings = config.load(os.environ)
    if force or any(it.action not in {"unchanged", "gone"} for it in planned.machines):
        applying.server_host(settings)  # what cannot be installed is not applied
    host_keys, keys = HostKeys(_known_hosts()), Keys(interactive=terminal.interactive)
    reach = Reach(keys, host_keys)
    try:
        touched = [it for it in planned.machines if it.action != "unchanged" or force]
        fingerprints = await applying.get_to_know(reach, host_keys, touched)
        (terminal.data if only_plan else terminal.say)(
            render.json_text(planned) if as_json else show.gateway_plan(planned, fingerprints)
        )
        if only_plan:
            return ""
        verb = "Make" if planned.action == "create" else "Change"
        if not terminal.confirm(f"{verb} the gateway {planned.name}?", yes=yes):
            terminal.say("Nothing was changed.")
            return ""
        applying.keep(host_keys, terminal)
        applied = api.apply_gateway(source.document_json, plan_token=planned.plan_token, reinstall=force)
        source.refuse(applied.problems)
        failed = await applying.install(api, terminal, reach, keys, applied.fleet, applied.installs, settings)
        for name, reason in failed.items():  # one at most
            raise CliError(
                f"the gateway {planned.name} is applied, but its machine {name} could not be installed: {reason}; "
                "put it right and apply again"
            )
        done = planned.name if detach else gateways.until_ready(api, terminal, planned.name)
        await _take_out(api, terminal, reach, [it for it in planned.machines if it.action == "gone" and it.host])
        return done
    finally:
        await reach.close()


def take_out(api: Client, terminal: Terminal, machines: Sequence[api_pb2.FleetHost]) -> None:
    """Machines that no gateway needs any more; one that is not reached cleans itself as far as it can. Raises Error."""
    asyncio.run(_take_out_alone(api, terminal, machines))


async def _take_out_alone(api: Client, terminal: Terminal, machines: Sequence[api_pb2.FleetHost]) -> None:
    reach = Reach(Keys(interactive=terminal.interactive), HostKeys(_known_hosts()))
    try:
        await _take_out(api, terminal, reach, machines)
    finally:
        await reach.close()


async def _take_out(api: Client, terminal: Terminal, reach: Reach, machines: Sequence[api_pb2.FleetHost]) -> None:
    for machine in machines:
        terminal.say(api.delete_host(machine.host))
        await applying.clean(terminal, reach, machine)


def _known_hosts() -> Path:
    return config.path(os.environ).parent / "known_hosts"
