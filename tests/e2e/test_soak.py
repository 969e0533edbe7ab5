"""The soak's command, for seconds and, by night, for minutes: it looks at every process, and finds nothing that grows."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

SOAK = Path(__file__).resolve().parents[1] / "bench" / "soak.py"
PROCESSES = ("server", "agent", "envoy local", "supervisor local", "cli ps", "cli event", "cli logs")
LOOKED_AT = {f"{process} {what}" for process in PROCESSES for what in ("rss_mib", "fds", "threads")} | {
    "database file_mib", "database wal_mib", "server disk_mib", "agent disk_mib", "server lag_ms", "agent lag_ms",
}  # fmt: skip


def soak(folder: Path, *flags: str, timeout_s: float) -> tuple[list[dict[str, str]], str]:
    """The rows of its CSV and what it printed; its exit status was 0."""
    command = [sys.executable, "-P", str(SOAK), "--out", str(folder), "--lag-bar-ms", "1000", *flags]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-6000:]}"
    assert (folder / "verdicts.txt").read_text() in done.stdout
    with (folder / "samples.csv").open(newline="") as file:
        return list(csv.DictReader(file)), done.stdout


def test_a_soak_of_seconds_looks_at_everything(tmp_path: Path) -> None:
    flags = ("--for", "12s", "--pause", "1s", "--longest", "1s", "--plain-per-s", "20")
    rows, said = soak(tmp_path, *flags, timeout_s=150)
    assert len(rows) > 4
    assert {name for name, value in rows[-1].items() if value} >= LOOKED_AT
    assert all(float(rows[-1][f"{process} rss_mib"]) > 0.5 for process in PROCESSES)
    assert "not enough" in said, "so short a run proves nothing about slopes"


@pytest.mark.nightly
def test_a_soak_of_minutes_finds_no_slope(tmp_path: Path) -> None:
    _, said = soak(tmp_path, "--for", "10m", "--slack", "4", timeout_s=900)
    assert "nothing grows, nothing failed" in said
    assert "not enough" not in said, "ten minutes are mostly warm-up, so it has slack; the bar is that of half an hour"
