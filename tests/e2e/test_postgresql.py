"""The whole of Homeport on a real PostgreSQL: the server is killed, the database is away, and no request fails."""

import time
from collections.abc import Iterator

import pytest
from rig.postgres import PASSWORD, Postgres, postgres
from rig.stack import Stack, stack, wait_for
from rig.traffic import Traffic, get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

LOST_AFTER_S = 6.0  # an agent tries again every five seconds at the least
WEB = """
type: service
name: {name}
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
auth: false
replicas: {replicas}
"""


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(scope="module")
def homeport(images: None, database: Postgres) -> Iterator[Stack]:
    with stack(database_url=database.create(), server_flags=["--lost-after-s", str(LOST_AFTER_S)]) as made:
        yield made


def more_of(traffic: Traffic, count: int = 40) -> None:
    reached = traffic.total + count
    wait_for(f"{count} more requests", lambda: traffic.total >= reached)


def serve(homeport: Stack, name: str, replicas: int = 1) -> None:
    done = homeport.apply(WEB.format(name=name, replicas=replicas))
    assert done.returncode == 0, done.stderr
    assert get(homeport.gateway_port, name)[0] == 200


def test_a_service_outlives_the_server_and_a_restart_of_the_database(homeport: Stack, database: Postgres) -> None:
    serve(homeport, "web")
    assert not (homeport.folder / "server" / "homeport.db").exists()
    (before,) = homeport.containers("web")

    with Traffic(homeport.gateway_port, "web", "") as traffic:
        homeport.server.kill()
        more_of(traffic)
        homeport.server.start()
        wait_for("the server answers", lambda: homeport.homeport("ps").returncode == 0)
        homeport.ready()
        assert homeport.run("web")["state"] == "running"

        database.stop()
        more_of(traffic)
        said = homeport.homeport("ps")
        assert said.returncode != 0
        assert "the database is away" in said.stderr
        assert len(said.stderr.strip().splitlines()) <= 2, said.stderr
        assert PASSWORD not in said.stderr
        refused = homeport.apply(WEB.format(name="late", replicas=1))
        assert refused.returncode != 0
        assert "the database is away" in refused.stderr
        away_s = time.monotonic()
        wait_for("longer than a host may be silent", lambda: time.monotonic() > away_s + LOST_AFTER_S + 1)

        database.start()
        wait_for("the server goes on by itself", lambda: homeport.homeport("ps").returncode == 0)
        homeport.ready()
        serve(homeport, "late")
        more_of(traffic)
    assert traffic.failures == []
    assert [it.id for it in homeport.containers("web")] == [before.id], "its container was not touched"
    told = homeport.homeport("event", "--run", "web").stdout
    assert "its host is lost" not in told
    assert "is lost" not in told
    assert PASSWORD not in homeport.server.output
