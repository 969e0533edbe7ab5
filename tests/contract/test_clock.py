"""The clock of tests (rig/clock) is what programs see: Python, SQLite, and waits that end when they should."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rig.clock.clocks import Clock

ASKED = """
import json, sqlite3, sys, threading, time
for line in sys.stdin:
    began = time.monotonic()
    threading.Event().wait(0.05)
    said, = sqlite3.connect(":memory:").execute("select strftime('%s', 'now')").fetchone()
    print(json.dumps([time.time(), time.time_ns() / 1e9, float(said), time.monotonic(), time.monotonic() - began]), flush=True)
"""
GRPC = """
import grpc
grpc.channel_ready_future(grpc.insecure_channel("127.0.0.1:1")).result(timeout=0.5)
"""


def test_a_jump_is_seen_at_once_and_leaves_the_monotonic_clock_alone(tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    environment = {**os.environ, **clock.environment()}
    with subprocess.Popen([sys.executable, "-c", ASKED], stdin=-1, stdout=-1, text=True, env=environment) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for hours in (0, 1, -1, -1.0000001, 0):
            clock.jump(hours=hours)
            child.stdin.write("\n")
            child.stdin.flush()
            *walls, monotonic_s, waited_s = json.loads(child.stdout.readline())
            assert walls == pytest.approx([time.time() + hours * 3600] * 3, abs=5)
            assert monotonic_s == pytest.approx(time.monotonic(), abs=5)
            assert 0.05 <= waited_s < 5
        child.stdin.close()


def test_grpc_waits_no_longer_for_it(tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    clock.jump(hours=1)
    command = [sys.executable, "-c", GRPC]
    environment = {**os.environ, **clock.environment()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)
    assert "FutureTimeoutError" in done.stderr
