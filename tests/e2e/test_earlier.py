"""A server of today on the database of a real earlier version; its agent goes on with the containers that ran then.

The databases and what the containers were made with: fixtures/databases. The CA is a new one, so the host's certificate is made
here; all else is as an upgrade finds it.
"""

import http.client
import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from fixtures.earlier import SCHEMAS, Earlier, earlier
from fixtures.plane import key_pem, new_request
from homeport_agent.identity import Identity, IdentityStore
from homeport_control.trust.ca import CertificateAuthority, serial_of
from rig.stack import Stack, engine, wait_for
from rig.traffic import get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow, pytest.mark.nightly]
LIFE_S = 86400.0
AGAIN = """
type: service
name: web
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
replicas: 2
env: [SECRET=of-today]
probes: [{type: http, url: /healthz, interval: 1s}]
"""


@pytest.fixture
def homeport(found: Earlier, images: None) -> Iterator[Stack]:
    """Nothing runs yet but the containers of then."""
    folder = Path(tempfile.mkdtemp(prefix="hp-earlier-", dir="/tmp"))
    made = Stack(folder)
    try:
        file = found.put(folder / "server")
        start_containers(found)
        initial = json.loads(made._control("init", *made._server_arguments))
        identify(made, found, file)
        (made.agent_state / "journal.json").write_text(found.facts["journal"])
        made.server.start()
        wait_for("the server listens", made._listens)
        login = ("login", "--server", initial["server"], "--token", found.token, "--ca", initial["ca"])
        wait_for("the token of then is good", lambda: made.homeport(*login).returncode == 0)
        yield made
    finally:
        for process in (made.server, made.agent):
            print(f"--- {process.name}\n{process.output[-6000:]}")
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=SCHEMAS)
def found(request: pytest.FixtureRequest) -> Earlier:
    return earlier(request.param)


def start_containers(found: Earlier) -> None:
    with engine() as client:
        for it in found.facts["containers"]:
            made = client.api.create_container_from_config(it["config"], it["name"])
            client.api.start(made["Id"])


def identify(made: Stack, found: Earlier, file: Path) -> None:
    """A certificate for the host of then, as it would have one."""
    authority = CertificateAuthority.load_or_create(made.folder / "server", found.server_id)
    key, request = new_request()
    certificate = authority.sign_host(request, found.host_id)
    now_s = time.time()
    IdentityStore(made.agent_state).save(
        Identity(
            "127.0.0.1", made.api_port, made.link_port, found.server_id, found.host_id, "test-host",
            now_s, now_s + LIFE_S, key_pem(key).decode(), certificate, authority.pem.decode(),
        )
    )  # fmt: skip
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE hosts SET serials = ?", (json.dumps([serial_of(certificate)]),))


def test_a_server_of_today_goes_on_with_what_ran_under_an_earlier_one(homeport: Stack, found: Earlier) -> None:
    began = {it.id: it.attrs["State"]["StartedAt"] for it in homeport.containers("web", everything=False)}
    assert len(began) == 2
    told = homeport.homeport("event").stdout
    assert f"the database was brought from schema {found.schema} to" in told
    homeport.agent.start()
    homeport.ready()

    def serves() -> bool:
        with suppress(OSError, http.client.HTTPException):  # its gateway may not be there yet
            return get(homeport.gateway_port, "web", token=found.token)[0] == 200
        return False

    wait_for("it is served", serves)
    wait_for("both serve", lambda: sum(bool(it.get("in_rotation")) for it in homeport.run("web")["replicas"]) == 2)
    now = {it.id: it.attrs["State"]["StartedAt"] for it in homeport.containers("web", everything=False)}
    assert now == began, "the same containers, never started anew"

    done = homeport.apply(AGAIN, timeout_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    wait_for("those of then are gone", lambda: not began.keys() & {it.id for it in homeport.containers("web")}, 60)
    assert serves()
