"""Requests of four kinds, each answer checked byte by byte, while revisions change, replicas drain and the server dies.

    .venv/bin/python -P tests/bench/bench_nothing_lost.py [--rollouts 50] [--requests 100000] [--times 20] [--only WORDS]

Prints a row per scenario as it ends. `--rollouts`: in a row, under most of the requests; `--times`: of what needs a range
of replicas; every other scenario is done `rollouts / 10` times, at least once, under a hundredth of the requests each time.
Bar (DESIGN section 9): 0 failed of 100,000 requests over 50 rollouts. Exit status 1 when one failed.
"""

import argparse
import sys
import time
from collections import Counter
from contextlib import ExitStack, redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig.load_client import Kind, LoadClient, loading
from rig.nothing_lost import OF_A_RANGE, SCENARIOS, SERVER_FLAGS, Stage, flows
from rig.stack import stack

ROLLING = "rolling updates"
LONGEST_S = 20.0  # of event streams and websockets
HEAD = f"{'scenario':38}{'times':>6}" + "".join(f"{kind:>8}" for kind in Kind)
HEAD += f"{'failed':>8}{'p50 ms':>8}{'p99 ms':>8}{'s':>7}"


def row(name: str, times: int, client: LoadClient, took_s: float) -> str:
    tallies = client.results.tallies
    counts = "".join(f"{tallies[kind].sent:8}" for kind in Kind)
    plain = tallies[Kind.PLAIN]
    quantiles = f"{plain.quantile_ms(0.5):8.1f}{plain.quantile_ms(0.99):8.1f}"
    return f"{name:38}{times:6}{counts}{client.results.not_ok:8}{quantiles}{took_s:7.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=50)
    parser.add_argument("--requests", type=int, default=100_000, help="in all rolling updates together")
    parser.add_argument("--times", type=int, default=20, help="of scaling to zero and back, and 1 to 5 to 1")
    parser.add_argument("--plain-per-s", type=float, default=250)
    parser.add_argument("--only", default="", help="scenarios with these words in their name")
    given = parser.parse_args()
    others = max(1, given.rollouts // 10)
    plan = {name: (run, others, given.requests // 100) for name, run in SCENARIOS.items()}
    plan |= {name: (run, given.times, given.requests // 100) for name, run in OF_A_RANGE.items()}
    plan[ROLLING] = (SCENARIOS[ROLLING], given.rollouts, given.requests // given.rollouts)
    failed, details = 0, []
    with ExitStack() as held:
        stage = Stage(held.enter_context(stack(server_flags=SERVER_FLAGS)))
        stage.apply()
        stage.settled()
        print(HEAD, flush=True)
        for name, (run, times, answers) in plan.items():
            if given.only not in name:
                continue
            began_s = time.monotonic()
            with loading(stage.target, flows(plain_per_s=given.plain_per_s, longest_s=LONGEST_S)) as client:
                for _ in range(times):
                    run(stage, client, answers)
            print(row(name, times, client, time.monotonic() - began_s), flush=True)
            failed += client.results.not_ok
            if client.results.not_ok:
                details.append(f"-- {name}\n{client.results.table()}")
            if name == ROLLING:
                details.append(f"-- {name}, by kind\n{client.results.table()}")
            told = Counter(line[line.index("SIGTERM with") :] for line in stage.log_lines("SIGTERM with"))
            if set(told) - {"SIGTERM with 0 under way"}:
                details.append(f"-- {name}: told to end with requests under way: {dict(told)}")
        with redirect_stdout(sys.stderr):  # the end of its processes' logs
            held.close()
    print("\n".join(details))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
