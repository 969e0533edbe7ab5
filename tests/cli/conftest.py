"""One real server for the tests of this folder, which ask it and change nothing that another test sees."""

from collections.abc import Iterator

import pytest
from rig.lone_server import LoneServer, lone_server


@pytest.fixture(scope="session")
def server() -> Iterator[LoneServer]:
    with lone_server() as started:
        yield started
