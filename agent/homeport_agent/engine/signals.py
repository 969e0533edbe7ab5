"""Whether a stop signal does anything to the first process of a container.

The kernel gives PID 1 of a namespace no default action: a program that does not catch SIGTERM ignores it there, so a
stop would wait out its whole grace for nothing (five minutes for `python -m http.server`). Docker's answer is an init
injected into the container; ours injects nothing. Covers looking into /proc and passing the signal on. What cannot be
seen is taken as caught: then the grace is simply waited for.
"""

import os
import signal
from pathlib import Path


def number_of(name: str) -> int:
    """`SIGTERM`, `TERM`, `15` -> 15. An unknown name is SIGTERM."""
    if name.isdecimal():
        return int(name)
    found = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", signal.SIGTERM)
    return int(found)


def is_caught(pid: int, number: int) -> bool:
    """Whether the process has a handler for the signal."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    except (OSError, StopIteration, IndexError):
        return True
    return bool(int(caught, 16) >> (number - 1) & 1)


def pass_on(pid: int, number: int) -> bool:
    """Send the signal to the children of a process that is deaf to it itself, as a shell that waits for its program.

    False: there is nobody to send it to. True also when that cannot be seen or done.
    """
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return True
    for child in children:
        try:
            os.kill(child, number)
        except ProcessLookupError:
            continue
        except PermissionError:
            return True
    return bool(children)
