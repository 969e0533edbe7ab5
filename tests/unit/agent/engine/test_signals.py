import os
import signal
import subprocess
import sys

from homeport_agent.engine import signals

CATCHES = "import signal; signal.signal(15, print); print(1, flush=True); input()"
CHILD = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'input()']); print(p.pid, flush=True); p.wait()"


def program(code: str) -> "subprocess.Popen[str]":
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return child


def test_names_and_numbers_of_signals() -> None:
    assert [signals.number_of(name) for name in ("SIGTERM", "QUIT", "10", "SIGNOSUCH")] == [15, 3, 10, 15]


def test_a_handler_is_seen() -> None:
    with program(CATCHES) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert signals.is_caught(child.pid, signal.SIGTERM)
        assert not signals.is_caught(child.pid, signal.SIGUSR1)
        child.kill()


def test_what_cannot_be_seen_is_taken_as_caught() -> None:
    assert signals.is_caught(2**22 + 1, signal.SIGTERM)
    assert signals.pass_on(2**22 + 1, signal.SIGTERM)


def test_the_signal_goes_to_the_children_of_a_deaf_process() -> None:
    with program(CHILD) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        assert signals.pass_on(parent.pid, signal.SIGTERM)
        assert parent.wait(10) == 0  # it waited for the child, which has ended by the signal
    assert not os.path.exists(f"/proc/{grandchild}")


def test_a_process_without_children_has_nobody_to_hear_it() -> None:
    with program("print(1, flush=True); input()") as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert not signals.pass_on(child.pid, signal.SIGTERM)
        child.kill()
