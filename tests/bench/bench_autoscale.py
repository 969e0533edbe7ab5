"""What auto-scaling makes of six loads, beside the policy of the page; and what a turn costs.

    uv run --group plots python -P tests/bench/bench_autoscale.py [--plots FOLDER]

Prints a table, and draws each load as a PNG in `tests/bench/plots` (needs matplotlib: the group `plots`). On a virtual
clock, so only the last line depends on the machine. Not a test: nothing is asserted.
"""

import argparse
import importlib.util
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.autoscale_shapes import RULE, SHAPES, START_S, TARGET, Homeport, Outcome, ThePage, simulate
from homeport_control.decide.autoscale import Memory, Standing, decide
from homeport_control.domain.scaling import LoadSample, Metric, ScalingRule

SERVICES, SAMPLES, TURNS = 1000, 60, 7
BAR = f"bar: one turn of {SERVICES} services with {SAMPLES} samples each <= 50 ms"


def table(found: dict[str, dict[str, Outcome]]) -> str:
    lines = [
        f"{'load':10} {'policy':10} {'requests':>9} {'unserved':>9} {'%':>6} {'idle replica-s':>14} {'changes':>7}"
    ]
    for shape, outcomes in found.items():
        for policy, it in outcomes.items():
            share = 100 * it.unserved / sum(it.load)
            lines.append(
                f"{shape:10} {policy:10} {sum(it.load):9.0f} {it.unserved:9.0f} {share:6.2f}"
                f" {it.idle_replica_s:14.0f} {it.changes:7}"
            )
    said = f"target {TARGET:g} rps, up after {RULE.scale_up_delay_s:g} s, down after {RULE.scale_down_delay_s:g} s"
    return "\n".join([*lines, f"{said}; a replica serves {START_S} s after its order"])


def draw(folder: Path, shape: str, outcomes: dict[str, Outcome]) -> Path:
    import matplotlib  # here: the table is there without it

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(outcomes), 1, sharex=True, figsize=(11, 6), layout="constrained")
    for one, (policy, it) in zip(axes, outcomes.items(), strict=True):
        minutes = [n / 60 for n in range(len(it.load))]
        one.plot(minutes, it.load, color="#888888", linewidth=0.8, label="load, rps")
        one.step(minutes, [TARGET * n for n in it.ordered], color="#d08020", linestyle=":", label="ordered")
        one.step(minutes, [TARGET * n for n in it.serving], color="#2060c0", label="what the replicas carry, rps")
        one.set_title(f"{shape}, {policy}: {it.unserved:.0f} unserved, {it.idle_replica_s:.0f} idle replica-seconds")
        one.set_ylim(bottom=0)
        one.legend(loc="upper right", fontsize="small")
    axes[-1].set_xlabel("minutes")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"autoscale-{shape}.png"
    figure.savefig(file, dpi=100)
    pyplot.close(figure)
    return file


def turn_ms() -> float:
    """The least of some turns; the pure part, as the loop calls it."""
    rule = ScalingRule(Metric.RPS, 10, 0, 8, 300, 600, 60)
    samples = tuple(LoadSample(1000.0 + n, 10 + n % 7, 3) for n in range(SAMPLES))
    memory, standing = Memory(), Standing(2, 2, 0)
    taken = []
    for _ in range(TURNS):
        began_s = time.perf_counter()
        for _ in range(SERVICES):
            decide(rule, samples, standing, memory, 1059.5)
        taken.append((time.perf_counter() - began_s) * 1000)
    return min(taken)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plots", type=Path, default=Path(__file__).parent / "plots")
    options = parser.parse_args()
    found = {
        shape: {"homeport": simulate(make(), Homeport()), "the page": simulate(make(), ThePage())}
        for shape, make in SHAPES.items()
    }
    print(table(found))
    if importlib.util.find_spec("matplotlib") is None:
        print("no plots: matplotlib is not there (uv sync --group plots)")
    else:
        for shape, outcomes in found.items():
            print(draw(options.plots, shape, outcomes))
    print(f"one turn of {SERVICES} services: {turn_ms():.1f} ms   ({BAR})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
