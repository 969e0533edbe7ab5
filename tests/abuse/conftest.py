"""One server for all that mean it harm, one after the other: what one of them leaves behind, the next one meets."""

from collections.abc import Iterator

import pytest
from fixtures.hostile import Victim, victim


@pytest.fixture(scope="module")
def server() -> Iterator[Victim]:
    with victim() as it:
        yield it
