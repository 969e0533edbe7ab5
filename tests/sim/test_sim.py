"""The simulation in CI: no seed goes wrong; equal seeds give equal stories, also where sets of words are walked otherwise.

Worlds are played in processes of their own: simulated time is a whole process's.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
LIMIT_S = 300.0
LEAST_S, MOST_S = 80.0, 660.0  # for seeds: in that time two cores play two thousand
ENOUGH_S = 3300.0  # since scripts/test began: who is slow plays fewer


def sim(*arguments: str, hash_seed: int = 0, limit_s: float = LIMIT_S) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(TESTS)}
    environment.pop("PYTHONSAFEPATH", None)
    command = [sys.executable, "-m", "sim", *arguments]
    return subprocess.run(
        command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
    )


def side_by_side(calls: Sequence[tuple[str, ...]], **named: float) -> list[subprocess.CompletedProcess[str]]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda arguments: sim(*arguments, **named), calls))  # type: ignore[arg-type]


def must_be_well(played: list[subprocess.CompletedProcess[str]]) -> None:
    for it in played:
        assert it.returncode == 0, it.stdout[-4000:] + it.stderr[-4000:]
        assert not it.stdout.startswith("0 seeds"), it.stdout


def time_left_s() -> float:
    """For seeds, in the run of all tests; alone a short while will do."""
    began_s = os.environ.get("HOMEPORT_TEST_BEGAN_S")
    spent_s = time.time() - float(began_s) if began_s else ENOUGH_S
    return min(max(ENOUGH_S - spent_s, LEAST_S), MOST_S)


@pytest.mark.slow
def test_no_seed_goes_wrong() -> None:
    """As many of two thousand as there is time for, always from the same first ones on."""
    left_s = time_left_s()
    for_s = ("--for-s", str(left_s))
    calls = [("--seeds", "0..999", *for_s), ("--seeds", "10000..10999", *for_s)]
    must_be_well(side_by_side(calls, limit_s=left_s + LIMIT_S))


@pytest.mark.nightly
def test_no_seed_of_thousands_goes_wrong() -> None:
    for_s = ("--for-s", "1500")
    calls = [("--seeds", "20000..99999", *for_s), ("--seeds", "100000..199999", *for_s)]
    must_be_well(side_by_side(calls, limit_s=1900.0))


@pytest.mark.slow
def test_equal_seeds_give_equal_stories() -> None:
    """In another process too, where the hash of a word is another one: plans never depend on the order of a set."""
    seeds = ("--seeds", "1..4", "--trace")
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda number: sim(*seeds, hash_seed=number), (0, 7))
    traces = [line for line in one.stdout.splitlines() if len(line.split()) == 2]
    assert len(traces) == 4, one.stdout + one.stderr
    assert traces == [line for line in other.stdout.splitlines() if len(line.split()) == 2]


@pytest.mark.slow
def test_a_drain_that_does_not_wait_for_requests_is_seen() -> None:
    """The simulation can fail."""
    played = sim("--seeds", "0..1", "--broken", "drain")
    assert played.returncode == 1, played.stdout + played.stderr
    assert "is stopped while it answers" in played.stdout
