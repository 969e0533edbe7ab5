"""agent/envoy/admin: who holds a port, and an Envoy that does not answer. The rest is tried with a real one."""

import os
import socket
from pathlib import Path

import psutil
from homeport_agent.envoy import admin


def test_a_free_port_is_no_problem() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert admin.port_problem("127.0.0.1", port) == ""


def test_a_taken_port_is_said_with_its_holder_and_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert admin.port_problem("127.0.0.1", port) == (
            f"port {port} on 127.0.0.1 is taken by {psutil.Process().name()} (pid {os.getpid()}); "
            "free it, or give the gateway another port"
        )


def test_an_address_that_is_not_ours_is_one_sentence() -> None:
    assert admin.port_problem("192.0.2.1", 80).startswith("port 80 on 192.0.2.1 cannot be opened: ")


def test_an_envoy_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert admin.look(tmp_path) is None


def test_an_envoy_that_says_nothing_is_none_within_its_deadline(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "admin.sock"))
        deaf.listen()
        assert admin.look(tmp_path) is None
