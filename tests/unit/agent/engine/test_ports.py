import os
import socket

from homeport_agent.engine.ports import listening_ports


def test_a_port_that_something_listens_on_is_seen() -> None:
    with socket.socket() as v4, socket.socket(socket.AF_INET6) as v6, socket.socket() as bound_only:
        v4.bind(("127.0.0.1", 0))
        v4.listen()
        v6.bind(("::1", 0))
        v6.listen()
        bound_only.bind(("127.0.0.1", 0))
        ports = listening_ports(os.getpid())
        assert {v4.getsockname()[1], v6.getsockname()[1]} <= set(ports)
        assert bound_only.getsockname()[1] not in ports


def test_a_process_that_cannot_be_seen_listens_on_nothing_that_we_say() -> None:
    assert listening_ports(0) == ()
    assert listening_ports(2**22 + 1) == ()
