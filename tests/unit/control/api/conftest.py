"""A server's API with a gateway that is ready, and an admin who calls it."""

from collections.abc import AsyncIterator

import pytest
from fixtures.control import State, add_host, add_token
from fixtures.databases import directory
from fixtures.plane import Api, Plane, serving

__all__ = ["directory"]
ADMIN, USER = "hp_admin", "hp_user"


@pytest.fixture
async def plane(state: State) -> AsyncIterator[Plane]:
    await add_host(state, "h1", gateway="local", gateway_ready=True)
    await add_token(state, ADMIN, "admin")
    await add_token(state, USER, "user")
    async with serving(state, gateway_start_s=0.05) as plane:
        yield plane


@pytest.fixture
async def admin(plane: Plane) -> AsyncIterator[Api]:
    async with plane.api(ADMIN) as api:
        yield api


@pytest.fixture
async def user(plane: Plane) -> AsyncIterator[Api]:
    async with plane.api(USER) as api:
        yield api
