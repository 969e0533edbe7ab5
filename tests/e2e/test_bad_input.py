"""What goes wrong ends in one clear line (what, why, what to do), the right exit code, and nothing left behind."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from rig.stack import Stack, stack, wait_for
from rig.traffic import get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

SERVICE = "type: service\nname: broken\nimage: homeport-test/hello:1\ncommands: [exec python3 /hello.py]\nport: 8000\n"


@pytest.fixture(scope="module")
def homeport(images: None):  # type: ignore[no-untyped-def]
    """A stack that does not wait ten minutes for a replica that never gets ready."""
    with stack(server_flags=["--ready-timeout-s", "4"]) as made:
        yield made


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """The exit code, every word on stderr, and no traceback."""
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    for word in words:
        assert word in done.stderr, (word, done.stderr)


def left_nothing(homeport: Stack, name: str = "broken") -> None:
    wait_for("no container is left", lambda: not homeport.containers(name))
    assert homeport.run(name).get("state") in {None, "failed"}
    assert get(homeport.gateway_port, name, token=homeport.token)[0] == 404


def test_broken_yaml_names_the_line(homeport: Stack) -> None:
    refused(homeport.apply("type: service\nname: [broken\nport: 8000\n"), 2, "service.homeport.yml:3:", "broken YAML")
    left_nothing(homeport)


def test_all_mistakes_are_told_at_once_with_their_lines(homeport: Stack) -> None:
    done = homeport.apply(SERVICE + "resources:\n  gpu:\n    memry: 24GB\nreplica: 2\n")
    refused(done, 2, ":8: resources.gpu.memry", "memory", ":9: replica", "replicas")
    left_nothing(homeport)


def test_what_is_not_carried_out_yet_is_refused_by_name(homeport: Stack) -> None:
    done = homeport.apply(SERVICE + "model: {name: m, format: tgi}\n")
    refused(done, 2, "model.format", "`format: tgi` is not supported")
    left_nothing(homeport)


def test_a_variable_that_is_not_set_is_named(homeport: Stack) -> None:
    done = homeport.apply(SERVICE + "env:\n  - HUGGING_FACE_HUB_TOKEN\n")
    refused(done, 2, "Environment variable HUGGING_FACE_HUB_TOKEN is not set", "-e HUGGING_FACE_HUB_TOKEN")
    left_nothing(homeport)


def test_no_file_lists_what_was_found(homeport: Stack, tmp_path: Path) -> None:
    done = homeport.homeport("apply", "-y", cwd=str(tmp_path))
    refused(done, 2, ".homeport.yml")


def test_without_a_terminal_and_without_y_nothing_is_submitted(homeport: Stack) -> None:
    file = homeport.documents / "quiet.homeport.yml"
    file.write_text(SERVICE)
    refused(homeport.homeport("apply", "-f", str(file)), 2, "-y")
    left_nothing(homeport)


def test_an_image_that_does_not_exist(homeport: Stack) -> None:
    done = homeport.apply(SERVICE.replace("homeport-test/hello:1", "127.0.0.1:9/no/such:1"), timeout_s=90)
    refused(done, 1, "127.0.0.1:9/no/such:1")
    left_nothing(homeport)


def test_a_port_that_nothing_listens_on(homeport: Stack) -> None:
    done = homeport.apply(SERVICE.replace("port: 8000", "port: 8123"), timeout_s=60)
    refused(done, 1, "8123", "8000")  # where it does listen
    left_nothing(homeport)


def test_commands_that_exit_at_once(homeport: Stack) -> None:
    done = homeport.apply(SERVICE.replace("exec python3 /hello.py", "'echo the reason; exit 3'"), timeout_s=60)
    refused(done, 1, "3", "the reason")
    left_nothing(homeport)


def test_a_command_that_the_image_does_not_have(homeport: Stack) -> None:
    done = homeport.apply(SERVICE + "entrypoint: /no/such/program\n", timeout_s=60)
    refused(done, 1, "/no/such/program")
    left_nothing(homeport)


def test_retry_off_fails_at_the_first_exit(homeport: Stack) -> None:
    done = homeport.apply(SERVICE.replace("exec python3 /hello.py", "exit 5") + "retry: false\n", timeout_s=60)
    refused(done, 1, "5")
    left_nothing(homeport)


def test_more_than_any_host_has_is_explained_with_numbers(homeport: Stack) -> None:
    file = homeport.documents / "large.homeport.yml"
    file.write_text(SERVICE + "resources: {cpu: 1000.., gpu: 24GB}\n")
    done = homeport.homeport("apply", "-f", str(file), "--plan")
    assert done.returncode == 0, done.stderr
    shown = done.stdout + done.stderr
    assert "test-host" in shown
    assert "1000" in shown


@pytest.mark.parametrize("token", ["hp_wrong", ""])
def test_a_token_that_is_wrong_or_missing(homeport: Stack, token: str) -> None:
    done = homeport.homeport("ps", env={"HOMEPORT_TOKEN": token or " "})
    assert done.returncode in {1, 2}
    assert "token" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_token_that_was_revoked_or_has_expired(homeport: Stack) -> None:
    made = homeport.homeport("token", "create", "gone", "--role", "user")
    token = made.stdout.strip()
    assert homeport.homeport("ps", env={"HOMEPORT_TOKEN": token}).returncode == 0
    assert homeport.homeport("token", "revoke", "gone").returncode == 0
    refused(homeport.homeport("ps", env={"HOMEPORT_TOKEN": token}), 1, "revoked")
    short = homeport.homeport("token", "create", "short", "--role", "user", "--ttl", "1s").stdout.strip()
    deadline = time.monotonic() + 10
    done = homeport.homeport("ps", env={"HOMEPORT_TOKEN": short})
    while done.returncode == 0 and time.monotonic() < deadline:
        done = homeport.homeport("ps", env={"HOMEPORT_TOKEN": short})
    refused(done, 1, "expired")


def test_a_server_that_is_not_there(homeport: Stack) -> None:
    done = homeport.homeport("ps", env={"HOMEPORT_SERVER": "127.0.0.1:9"})
    refused(done, 1, "127.0.0.1:9")


def test_a_run_that_does_not_exist(homeport: Stack) -> None:
    refused(homeport.homeport("stop", "nothing", "-y"), 1, "nothing")
    refused(homeport.homeport("logs", "nothing"), 1, "nothing")


def test_docker_that_does_not_run_is_said_in_the_plan(images: None) -> None:
    with stack(agent_env={"DOCKER_HOST": "unix:///nowhere/docker.sock"}) as homeport:
        file = homeport.documents / "s.homeport.yml"
        file.write_text(SERVICE)
        done = homeport.homeport("apply", "-f", str(file), "--plan")
        assert "Docker does not answer" in done.stdout + done.stderr
        listed = homeport.homeport("fleet", "list").stdout
        assert "failing" in listed


def test_a_gateway_port_that_is_taken_is_refused_with_its_holder(images: None) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with stack(server_flags=["--gateway-port", str(port)]) as homeport:
            done = homeport.apply(SERVICE, timeout_s=60)
            refused(done, 1, "gateway local is not ready", str(port), f"pid {os.getpid()}")
            assert homeport.runs(everything=True) == []
            assert homeport.containers() == []


def write_for_ever(file: Path) -> None:
    with file.open("wb", buffering=0) as opened:
        while True:
            opened.write(b"0" * 4096)


def test_a_full_disk_under_the_server_changes_nothing_and_passes(images: None) -> None:
    with stack(small_disk_mib=4) as homeport:
        before = homeport.apply(SERVICE.replace("name: broken", "name: before"))
        assert before.returncode == 0, before.stderr
        filler = homeport.folder / "server" / "filler"
        with pytest.raises(OSError, match="No space left"):
            write_for_ever(filler)
        refused(homeport.apply(SERVICE), 1, "disk", "free some space")
        assert get(homeport.gateway_port, "before", token=homeport.token)[0] == 200
        filler.unlink()
        wait_for("it works again", lambda: homeport.apply(SERVICE).returncode == 0)
