"""Taking hosts out for good, one or a whole fleet: each is emptied first, unless it is forced."""

from homeport import Client

from homeport_cli.context import Terminal
from homeport_cli.watch import until_empty


def remove_host(api: Client, terminal: Terminal, host: str, *, force: bool) -> str:
    """Drain, wait, remove; forced, at once. What was done. Raises Error, KeyboardInterrupt: then it stays drained."""
    if not force:
        terminal.say(api.drain(host))
        until_empty(api, terminal, host)
    return api.delete_host(host, force=force)


def delete_fleet(api: Client, terminal: Terminal, name: str, *, yes: bool) -> None:
    """Raises Error."""
    found = api.hosts(fleet=name)
    hosts = [host for host in found if host.id]  # those without an id never joined
    busy = sum(host.replicas for host in hosts)
    moves = f", {busy} replica{'s' if busy != 1 else ''} move first" if busy else ""
    if not terminal.confirm(f"Delete the fleet {name} with its {len(hosts)} hosts{moves}?", yes=yes):
        terminal.say("Nothing was deleted.")
        return
    for host in hosts:
        terminal.say(remove_host(api, terminal, host.name, force=False))
    terminal.data(api.delete_fleet(name))
