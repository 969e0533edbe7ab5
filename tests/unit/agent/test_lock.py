import subprocess
import sys
from pathlib import Path

import pytest
from homeport_agent import lock

HOLD = """
import sys
from pathlib import Path
from homeport_agent import lock
lock.take(Path(sys.argv[1]))
print(1, flush=True)
input()
"""


def test_a_second_agent_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        with pytest.raises(lock.AlreadyRunning, match=rf"pid {first.pid}\)"):
            lock.take(tmp_path)
        first.kill()
    lock.release(lock.take(tmp_path))  # the kernel let go of it with the process
