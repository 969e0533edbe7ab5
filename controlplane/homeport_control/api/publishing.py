"""Which gateway publishes a service: the one that its file names, or the default of the moment in which it is applied.

The name is kept with the revision, so another default moves nothing by itself.
"""

from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.decide.gateways import choose
from homeport_control.domain.errors import Conflict
from homeport_control.spec.problems import BadDocument, Problem
from homeport_control.store import gateways


async def must_be_there(connection: AsyncConnection, name: str) -> None:
    """Raises Conflict when the gateway was deleted since it was looked at."""
    if await gateways.get(connection, name) is None:
        raise Conflict(f"gateway {name} was deleted just now; run `homeport apply` again")


async def published_by(connection: AsyncConnection, wanted: str | None, *, https: bool = False) -> str:
    """Its name. Raises BadDocument when there is none, and when it must speak `https` and does not."""
    known = await gateways.list_all(connection)
    found = choose(wanted, known)
    if found is not None:
        if https and not found.has_tls:
            hint = "Leave `https` out, or apply the gateway with a certificate"
            raise BadDocument([Problem("https", f"the gateway `{found.name}` has no certificate", hint)])
        return found.name
    names = ", ".join(f"`{it.name}`" for it in known)
    if wanted is None:
        hint = "Choose one: `homeport gateway set-default NAME`" if known else "Make one: `type: gateway`"
        raise BadDocument([Problem("gateway", "is not given, and no gateway is the default", hint)])
    hint = f"These are there: {names}" if known else "Make it: `type: gateway`"
    raise BadDocument([Problem("gateway", f"there is no gateway `{wanted}`", hint)])
