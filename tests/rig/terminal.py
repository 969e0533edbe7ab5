"""A program on a terminal of its own: what it asks there is answered, and all that it showed comes back."""

import os
import pty
import select
import time
from collections.abc import Mapping, Sequence


def on_terminal(
    command: Sequence[str], environment: Mapping[str, str], answers: Sequence[tuple[str, str]], timeout_s: float = 170
) -> tuple[int, str]:
    """Exit code and output. `answers`: what to wait for, and what is typed then, in this order."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir("/")
        os.execve(command[0], list(command), dict(environment))  # noqa: S606 - the child becomes it
    shown, looked, left = "", 0, list(answers)
    deadline_s = time.monotonic() + timeout_s
    try:
        while True:
            assert time.monotonic() < deadline_s, f"not over after {timeout_s:g} s:\n{shown}"
            if not select.select([terminal], [], [], 1.0)[0]:
                continue
            try:
                data = os.read(terminal, 65536)
            except OSError:  # EIO: the program has gone, and its terminal with it
                break
            if not data:
                break
            shown += data.decode(errors="replace")
            if left and (at := shown.find(left[0][0], looked)) >= 0:
                looked = at + len(left[0][0])
                os.write(terminal, f"{left.pop(0)[1]}\n".encode())
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    assert not left, f"it never asked {left[0][0]!r}:\n{shown}"
    return os.waitstatus_to_exitcode(status), shown
