"""What bounds a run, carried out: max_duration, stop_duration, `retry: false`; and data that outlives its containers."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.stack import Stack, engine, wait_for
from rig.traffic import get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

SERVICE = """
type: service
name: %s
image: homeport-test/hello:1
port: 8000
"""


def apply(homeport: Stack, name: str, more: str) -> None:
    done = homeport.apply(SERVICE % name + more)
    assert done.returncode == 0, done.stderr


def ended(homeport: Stack, name: str) -> dict[str, object]:
    finished = {"terminated", "failed", "done"}
    return wait_for(f"{name} ends", lambda: run if (run := homeport.run(name)).get("state") in finished else None)


def test_past_max_duration_a_run_is_terminated_and_has_not_failed(homeport: Stack) -> None:
    apply(homeport, "short", "commands: [exec python3 /hello.py]\nmax_duration: 5s\nstop_duration: 5s\n")
    began_s = time.monotonic()
    assert homeport.run("short")["state"] == "running"
    run = ended(homeport, "short")
    assert 1 < time.monotonic() - began_s < 20
    assert run["state"] == "terminated"
    assert str(run["reason"]).startswith("max_duration_exceeded")
    wait_for("its container is gone", lambda: not homeport.containers("short"))


def test_stop_duration_lies_between_sigterm_and_sigkill(homeport: Stack) -> None:
    shared = homeport.folder / "stubborn"
    shared.mkdir()
    record = "trap 'date +%s > /shared/term' TERM; python3 /hello.py & while true; do date +%s > /shared/alive; sleep 0.2; done"
    apply(homeport, "stubborn", f'commands: ["{record}"]\nvolumes: ["{shared}:/shared"]\nstop_duration: 4s\n')
    done = homeport.homeport("stop", "stubborn", "-y", timeout_s=60)
    assert done.returncode == 0, done.stderr
    wait_for("its container is gone", lambda: not homeport.containers("stubborn"))
    term_s, alive_s = (int((shared / name).read_text()) for name in ("term", "alive"))
    assert 2 <= alive_s - term_s <= 8, "it went on after SIGTERM, and not for longer than stop_duration"


def test_without_retry_one_failed_replica_ends_the_run(homeport: Stack) -> None:
    dies = "if [ $HOMEPORT_REPLICA = 0 ]; then python3 /hello.py & sleep 4; echo enough; exit 3; fi; exec python3 /hello.py"
    apply(homeport, "fragile", f'commands: ["{dies}"]\nreplicas: 2\nretry: false\nstop_duration: 2s\n')
    run = ended(homeport, "fragile")
    assert run["state"] == "failed"
    assert "exit" in str(run["reason"])
    wait_for("the other replica is stopped too", lambda: not homeport.containers("fragile"))


def test_retry_as_a_map_replaces_what_dies(homeport: Stack) -> None:
    dies_once = (
        "if mkdir /shared/first 2>/dev/null; then python3 /hello.py & sleep 3; exit 3; fi; exec python3 /hello.py"
    )
    shared = homeport.folder / "again"
    shared.mkdir()
    retry = "retry: {on_events: [error, interruption]}"
    apply(homeport, "again", f'commands: ["{dies_once}"]\nvolumes: ["{shared}:/shared"]\n{retry}\nstop_duration: 2s\n')
    wait_for(
        "it serves again after it died",
        lambda: (
            (shared / "first").exists()
            and any(it.get("restarts", 0) and it.get("in_rotation") for it in homeport.run("again").get("replicas", []))
        ),
    )
    wait_for("its run says so", lambda: homeport.run("again")["state"] == "running")
    assert homeport.homeport("stop", "again", "-x", "-y").returncode == 0


@pytest.fixture
def kept_volume(homeport: Stack) -> Iterator[str]:
    name = f"homeport-{homeport.server_id}-kept"
    yield name
    with engine() as client:
        client.volumes.get(name).remove(force=True)


def test_a_named_volume_outlives_replacement_stop_and_delete(homeport: Stack, kept_volume: str) -> None:
    commands = 'commands: ["echo run >> /kept/runs", "COUNT=$(wc -l < /kept/runs) exec python3 /hello.py"]\n'
    more = commands + "volumes: [kept:/kept]\nhome_dir: /kept\nstop_duration: 2s\n"
    apply(homeport, "keeper", more)
    assert get(homeport.gateway_port, "keeper", "/env?name=HOME", homeport.token)[2] == b"/kept"
    apply(homeport, "keeper", more + "env: [A=1]\n")
    assert homeport.homeport("stop", "keeper", "-y", timeout_s=60).returncode == 0
    wait_for("its containers are gone", lambda: not homeport.containers("keeper"))
    apply(homeport, "keeper", more)
    count = int(get(homeport.gateway_port, "keeper", "/env?name=COUNT", homeport.token)[2].strip())
    assert count >= 3, "what each container wrote was there for the next one"
    file = homeport.folder / "keeper.homeport.yml"
    file.write_text(SERVICE % "keeper" + more)
    assert homeport.homeport("delete", "-f", str(file), "-y", timeout_s=60).returncode == 0
    wait_for("its container is gone", lambda: not homeport.containers("keeper"))
    with engine() as client:
        mountpoint = Path(client.volumes.get(kept_volume).attrs["Mountpoint"])
    assert len((mountpoint / "runs").read_text().splitlines()) == count
