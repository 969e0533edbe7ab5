"""`homeport offer`: where something could run now."""

from typing import Annotated

import typer

from homeport_cli import offering, render
from homeport_cli.commands import verbs
from homeport_cli.context import connect, terminal
from homeport_cli.errors import UsageError

app = verbs()
Words = list[str] | None


@app.command("offer")
def offer(
    words: Annotated[
        Words, typer.Argument(metavar="[KEY=VALUE]...", help="The flags as words: gpu=24GB:2 memory=64GB.. fleet=lab.")
    ] = None,
    gpu: Annotated[str | None, typer.Option("--gpu", metavar="SPEC", help="24GB, A100:80GB:2, 24GB..40GB, 2.")] = None,
    cpu: Annotated[str | None, typer.Option("--cpu", metavar="RANGE", help="Cores: `4..`, 4..8.")] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="RANGE", help="Memory: `16GB..`, 8GB..16GB.")
    ] = None,
    disk: Annotated[str | None, typer.Option("--disk", metavar="RANGE", help="Free disk: `100GB..`.")] = None,
    shm_size: Annotated[str | None, typer.Option("--shm-size", metavar="SIZE", help="Size of /dev/shm: 8GB.")] = None,
    fleet: Annotated[Words, typer.Option("--fleet", metavar="NAME", help="Only hosts of it; repeat it.")] = None,
    host: Annotated[Words, typer.Option("--host", metavar="NAME", help="Only this host; repeat it.")] = None,
    region: Annotated[Words, typer.Option("--region", metavar="NAME", help="Only hosts there; repeat it.")] = None,
    backend: Annotated[Words, typer.Option("--backend", metavar="NAME", help="agent or ssh; repeat it.")] = None,
    spot: Annotated[
        bool | None, typer.Option("--spot/--on-demand", help="Only spot hosts, or none; hosts of your own are none.")
    ] = None,
    max_price: Annotated[
        float | None, typer.Option("--max-price", min=0, metavar="DOLLARS", help="Per hour; your own hosts cost 0.")
    ] = None,
    reuse: Annotated[bool, typer.Option("-R", "--reuse", help="Only hosts that are connected now.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The API's own objects.")] = False,
) -> None:
    """List the hosts on which something could run, and why it could not on the others."""
    values: dict[str, object] = {
        "resources.gpu": gpu,
        "resources.cpu": cpu,
        "resources.memory": memory,
        "resources.disk": disk,
        "resources.shm_size": shm_size,
        "fleets": fleet,
        "hosts": host,
        "regions": region,
        "backends": backend,
        "spot_policy": None if spot is None else "spot" if spot else "on-demand",
        "max_price": max_price,
    }
    values = offering.with_words(values, words or ())
    with connect() as api:
        answer = api.list_offers(offering.asked(values), reuse=reuse)
    if answer.problems:
        first, *others = offering.problem_lines(answer.problems)
        raise UsageError(first, others)
    terminal().data(render.json_text(answer) if as_json else render.offered(answer))
