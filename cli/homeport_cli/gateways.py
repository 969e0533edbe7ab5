"""`apply` of a gateway, step by step: plan, confirm, keep, wait until it is ready; and deleting one.

What it does not cover: how it all looks (`gatewaytable`).
"""

import asyncio

from homeport import Client, TooSlow
from homeport.manifest import Manifest

from homeport_cli import gatewaytable, render
from homeport_cli.context import Terminal
from homeport_cli.errors import CliError

READY_S = 180.0  # its Envoy may have to be downloaded first, 40 MB


def apply(
    api: Client,
    terminal: Terminal,
    source: Manifest,
    *,
    yes: bool,
    detach: bool,
    only_plan: bool,
    as_json: bool,
    force: bool,
) -> None:
    """Raises Error. `force`: its machine, reached by SSH, is installed again."""
    planned = api.plan_gateway(source.document_json)
    source.refuse(planned.problems)
    if planned.machines and (force or planned.action != "unchanged"):
        from homeport_cli.fleets import gateways as machines  # SSH costs a third of a second: only who needs it pays

        done = asyncio.run(
            machines.apply(
                api,
                terminal,
                source,
                planned,
                yes=yes,
                detach=detach,
                only_plan=only_plan,
                as_json=as_json,
                force=force,
            )
        )
        if done:
            terminal.data(done)
        return
    (terminal.data if only_plan else terminal.say)(render.json_text(planned) if as_json else gatewaytable.plan(planned))
    if only_plan:
        return
    name = planned.name
    if planned.action == "unchanged":
        terminal.say(f"The gateway {name} is unchanged: nothing to do.")
        return
    if not terminal.confirm(f"{'Make' if planned.action == 'create' else 'Change'} the gateway {name}?", yes=yes):
        terminal.say("Nothing was changed.")
        return
    applied = api.apply_gateway(source.document_json, plan_token=planned.plan_token)
    source.refuse(applied.problems)
    if detach:
        terminal.data(name)
        return
    terminal.data(until_ready(api, terminal, name))


def delete(api: Client, terminal: Terminal, name: str, *, yes: bool) -> None:
    """Raises Error."""
    if not terminal.confirm(f"Delete the gateway {name}?", yes=yes):
        terminal.say("Nothing was deleted.")
        return
    answer = api.delete_gateway(name)
    if answer.gone:
        from homeport_cli.fleets import gateways as machines

        machines.take_out(api, terminal, answer.gone)
    terminal.data(answer.sentence)


def until_ready(api: Client, terminal: Terminal, name: str) -> str:
    """A sentence when it is. Each reason why it is not is told once. Raises Error."""
    said = ""
    try:
        for gateways in api.watch_gateways(within_s=READY_S):
            gateway = next((it for it in gateways if it.name == name), None)
            if gateway is None:
                raise CliError(f"the gateway {name} was deleted meanwhile")
            if gateway.ready:
                return f"Gateway {name} is ready: services are published at {gateway.example_url}"
            if gateway.message != said:
                said = gateway.message
                terminal.say(f"{name}: {said}")
    except TooSlow:
        pass
    raise CliError(
        f"the gateway {name} is not ready: {said or 'nothing was heard of it'}; it stays applied and comes when that is "
        "put right (`homeport gateway list`)"
    )
