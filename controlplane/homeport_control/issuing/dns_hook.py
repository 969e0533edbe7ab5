"""The program of a gateway's owner that sets and takes back the TXT record of a proof over DNS (RFC 8555, section 8.4).

Called as lego's `exec` provider calls its own, so scripts for that fit: `HOOK present RECORD VALUE` returns when the record
can be seen by everybody, `HOOK cleanup RECORD VALUE` takes it back. Blocking, for a thread, with a deadline; what it writes
is read to its end, and the last line of it told when it fails. It gets the server's environment without the server's own
settings.
"""

import os
import signal
import subprocess
import threading

from homeport_control.domain.certificates import CannotIssue

HOOK_S = 120.0
TOLD_CHARACTERS = 300
_TAIL_BYTES = 4096


def call(hook: str, action: str, record: str, value: str, timeout_s: float = HOOK_S) -> None:
    """Raises CannotIssue with one line why."""
    what = f"the hook {hook} {action}"
    written = _Tail()
    try:
        process = subprocess.Popen(
            [hook, action, record, value],
            stdin=subprocess.DEVNULL,
            stdout=written.pipe,
            stderr=written.pipe,
            cwd="/",
            env={name: text for name, text in os.environ.items() if not name.startswith("HOMEPORT_")},
            start_new_session=True,
        )
    except OSError as error:
        raise CannotIssue(f"{what} cannot be run on the server's machine: {error.strerror}") from None
    finally:
        os.close(written.pipe)
    try:
        status = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with what it has started
        process.wait()
        raise CannotIssue(f"{what} did not end within {timeout_s:g} s, and was killed") from None
    if status != 0:
        how = f"ended by signal {-status}" if status < 0 else f"failed with status {status}"
        raise CannotIssue(f"{what} {how}: {written.last_line() or 'it said nothing'}")


class _Tail:
    """The last bytes of what is written into `pipe`; all of it is read, so that nobody waits for us."""

    def __init__(self) -> None:
        reader, self.pipe = os.pipe()
        self._bytes = b""
        self._thread = threading.Thread(target=self._read, args=(reader,), daemon=True)
        self._thread.start()

    def _read(self, reader: int) -> None:
        with os.fdopen(reader, "rb", buffering=0) as file:
            while chunk := file.read(65536):
                self._bytes = (self._bytes + chunk)[-_TAIL_BYTES:]

    def last_line(self) -> str:
        """What it has left running may hold the pipe open, and is not waited for."""
        self._thread.join(1.0)
        text = self._bytes.decode(errors="replace")
        lines = ["".join(it for it in line if it.isprintable()).strip() for line in text.splitlines()]
        return next((line for line in reversed(lines) if line), "")[:TOLD_CHARACTERS]
