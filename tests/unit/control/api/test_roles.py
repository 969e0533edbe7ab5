"""Who may call which method: the table of docs/security.md is held against every method that the descriptors know."""

import re
from pathlib import Path

import grpc
import pytest
from fixtures.control import State, add_token
from fixtures.plane import Plane, called
from homeport_protos.api.v1 import api_pb2

PAGE = Path(__file__).parents[4] / "docs/security.md"
METHODS = {method.name: method for method in api_pb2.DESCRIPTOR.services_by_name["Api"].methods}
ADMIN, USER, SERVICE = "hp_admin", "hp_user", "hp_service"  # the first two as in conftest
NO_ROLE = {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED}


def table() -> dict[str, str]:
    """By method: `admin`, or `user` for those that every user may call too."""
    section = PAGE.read_text().partition("## Who may call what\n")[2].partition("\n## ")[0]
    found: dict[str, str] = {}
    for row in section.splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if len(cells) == 2 and cells[0] in {"admin", "user"}:
            for name in re.findall(r"`(\w+)`", cells[1]):
                assert name not in found, f"{name} stands there twice"
                found[name] = cells[0]
    return found


def test_every_method_has_a_role_in_the_table_and_every_one_there_exists() -> None:
    assert table().keys() == METHODS.keys()


async def may(plane: Plane, name: str, token: str) -> bool:
    """Whether the role is enough; what the request itself lacks is another refusal."""
    try:
        await called(plane, METHODS[name], token)
    except grpc.aio.AioRpcError as error:
        return error.code() not in NO_ROLE
    except StopAsyncIteration:
        pass
    return True


@pytest.mark.parametrize("name", METHODS)
async def test_a_method_is_for_whom_the_table_says(plane: Plane, state: State, name: str) -> None:
    await add_token(state, SERVICE, "service")
    assert await may(plane, name, ADMIN)
    assert await may(plane, name, USER) == (table().get(name) == "user")
    assert not await may(plane, name, SERVICE)
    assert not await may(plane, name, "")
    assert not await may(plane, name, "hp_wrong")
