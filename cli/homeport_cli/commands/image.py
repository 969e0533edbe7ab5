"""`homeport image`: the default image, made on a host."""

from typing import Annotated

import typer

from homeport_cli.commands import verbs
from homeport_cli.context import terminal

app = verbs("The default image of services that name none.")


@app.callback()
def image() -> None:
    """The default image of services that name none."""


@app.command("build")
def build(
    python: Annotated[str, typer.Option("--python", help="Its Python: 3.9 to 3.14.")] = "3.11",
    variant: Annotated[
        str, typer.Option("--variant", help="cuda: for services with GPUs; nvcc: CUDA's compiler.")
    ] = "",
    tag: Annotated[str, typer.Option("--tag", help="Its name; without: as the server's default names it.")] = "",
    mirror: Annotated[str, typer.Option("--mirror", help="URL of the distribution's archive.")] = "",
    from_registry: Annotated[
        bool, typer.Option("--from-registry", help="By the Dockerfile, whose base Docker pulls.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, do nothing.")] = False,
) -> None:
    """Make the default image on this machine, from the distribution's package archive: no registry is asked.

    Run it on each host that services without `image` may run on. Needs root, Docker and mmdebstrap.
    """
    from homeport_cli.images.build import Wish, build

    screen = terminal()
    wish = Wish(python, tag, variant, mirror, from_registry)
    made = build(wish, screen.say, dry_run=dry_run)
    if not dry_run:
        screen.data(made)
