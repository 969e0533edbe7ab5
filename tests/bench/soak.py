"""A soak: the whole stack under steady, checked traffic and steady change, and whether anything of it grows for ever.

    uv run --group plots python -P tests/bench/soak.py [--for 30m] [--out FOLDER] [--plain-per-s 60] [--pause 5s]

Server, agent, Envoy and Docker are real; what goes on is rig/soaking. Each second it records memory, open files and threads of
each process (server, agent, Envoys, their supervisors, command lines that watch), the database and its log, the disk of both
state directories, and how late the event loops of server and agent were. Writes samples.csv, soak.png (needs matplotlib: the
group `plots`) and verdicts.txt into FOLDER, and prints the last. Exit status 1 when a number has a slope (bench/slopes), a
request failed, a process was not the same all the while, or an event loop was later than its bar.
"""

import argparse
import csv
import importlib.util
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.slopes import WARM_UP_SHARE, Limit, Verdict, judge
from homeport_protos.lag import quantile_ms
from rig.process_samples import StackProcesses
from rig.soaking import Soak, soaking

LOOK_S = 1.0
WARM_UP_S = 600.0  # server and Envoy grow for some ten minutes (6 and 3 MiB measured) and then no more
LAG_BAR_MS = 50.0  # DESIGN, issue 8: p99
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
# By the last word of a number's name. What the work itself leaves (events, rows, logs) is allowed by the thing done.
LIMITS = {
    "rss_mib": Limit(per_hour=6.0, share_per_hour=0.06, grain=1.0),
    "fds": Limit(per_hour=4.0, grain=3.0),
    "threads": Limit(per_hour=2.0, grain=1.5),
    "wal_mib": Limit(per_hour=4.0, grain=4.0, ceiling=64.0),
    "kept_logs_mib": Limit(per_hour=float("inf"), ceiling=2000.0),  # 10 MB of a replica, 7 days
    "access_logs_mib": Limit(per_hour=float("inf"), ceiling=17 * 32.0),
}
FILE_MIB_PER_THING = 0.06  # events, revisions, replicas of one rollout or the like
DISK_MIB_PER_THING = 0.02  # the file that was applied, and its manifest


def limit_of(name: str, things_per_hour: float) -> Limit | None:
    """None: it is recorded and not judged."""
    what = name.rpartition(" ")[2]
    if what == "file_mib":
        return Limit(per_hour=1.0 + FILE_MIB_PER_THING * things_per_hour, grain=0.5)
    if what == "disk_mib":
        return Limit(per_hour=1.0 + DISK_MIB_PER_THING * things_per_hour, grain=0.5)
    return LIMITS.get(what)


class Recorder:
    """Looks each second, in a thread, until it is ended. `rows`: (seconds since the begin, the numbers)."""

    def __init__(self, processes: StackProcesses) -> None:
        self.rows: list[tuple[float, dict[str, float]]] = []
        self.failure = ""
        self._processes = processes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(10)

    def _run(self) -> None:
        began_s = time.monotonic()
        while not self._ended.wait(LOOK_S):
            try:
                self.rows.append((time.monotonic() - began_s, self._processes.look()))
            except Exception:
                self.failure = traceback.format_exc()
                return

    def series(self) -> dict[str, list[tuple[float, float]]]:
        found: dict[str, list[tuple[float, float]]] = {}
        for at_s, row in self.rows:
            for name, value in row.items():
                found.setdefault(name, []).append((at_s, value))
        return dict(sorted(found.items()))


def write_csv(file: Path, rows: Sequence[tuple[float, Mapping[str, float]]]) -> None:
    names = sorted({name for _, row in rows for name in row})
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["at_s", *names])
        writer.writerows(
            [f"{at_s:.2f}", *(f"{row[it]:.4g}" if it in row else "" for it in names)] for at_s, row in rows
        )


def table(verdicts: Mapping[str, Verdict]) -> str:
    lines = [f"{'number':28}{'level':>9}{'most':>9}{'per hour':>10}{'at least':>10}{'floor':>9}{'limit':>9}  verdict"]
    lines += [
        f"{name:28}{it.level:9.1f}{it.most:9.1f}{it.per_hour:10.2f}{it.low_per_hour:10.2f}{it.floor_per_hour:9.2f}"
        f"{it.limit_per_hour:9.2f}  {it.state}"
        for name, it in verdicts.items()
    ]
    return "\n".join(lines)


def draw(file: Path, series: Mapping[str, Sequence[tuple[float, float]]], marks: Sequence[tuple[float, str]]) -> None:
    import matplotlib  # here: the table is there without it

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kinds = ("rss_mib", "fds", "threads", "lag_ms", "disk")
    figure, axes = pyplot.subplots(len(kinds), 1, sharex=True, figsize=(12, 14), layout="constrained")
    for one, kind in zip(axes, kinds, strict=True):
        of_disk = ("file_mib", "wal_mib", "disk_mib", "logs_mib")
        chosen = {
            name: points
            for name, points in series.items()
            if name.endswith(kind) or (kind == "disk" and name.endswith(of_disk))
        }
        for name, points in chosen.items():
            label = name if kind == "disk" else name.rpartition(" ")[0]
            one.plot([at_s / 60 for at_s, _ in points], [value for _, value in points], linewidth=0.9, label=label)
        one.set_title("disk_mib" if kind == "disk" else kind)
        one.set_ylim(bottom=0)
        one.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="x-small")
        for at_s, what in marks:
            if what == "roll":
                one.axvline(at_s / 60, color="#cccccc", linewidth=0.5, zorder=0)
    axes[-1].set_xlabel("minutes; grey: a rollout begins")
    figure.savefig(file, dpi=90)
    pyplot.close(figure)


def work(soak: Soak, until_s: float, pause_s: float) -> list[str]:
    """Do one thing after the other, at least one; what went wrong in it."""
    while True:
        try:
            soak.step()
        except Exception as error:
            return [f"{soak.done[-1][1]}: {error!r}"]
        if time.monotonic() + pause_s >= until_s:
            return []
        time.sleep(pause_s)


def span(text: str) -> float:
    """Seconds of "90s", "30m", "2h"."""
    try:
        return float(text[:-1]) * UNITS[text[-1:]]
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90s, 30m or 2h") from None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--for", dest="for_s", type=span, default=span("30m"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "plots")
    parser.add_argument("--plain-per-s", type=float, default=60.0)
    parser.add_argument("--longest", dest="longest_s", type=span, default=span("10s"), help="of streams and websockets")
    parser.add_argument("--pause", dest="pause_s", type=span, default=span("5s"), help="between two changes")
    parser.add_argument("--slack", type=float, default=1.0, help="times the limits, for runs that are mostly warm-up")
    parser.add_argument("--lag-bar-ms", type=float, default=LAG_BAR_MS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with redirect_stdout(sys.stderr), soaking(plain_per_s=given.plain_per_s, longest_s=given.longest_s) as soak:
        processes = StackProcesses(soak.stack, {name: it.pid for name, it in soak.watchers.items()})
        began_s = time.monotonic()
        with Recorder(processes) as recorder:
            wrong = work(soak, began_s + given.for_s, given.pause_s)
            time.sleep(max(0.0, began_s + given.for_s - time.monotonic()))
        took_s = time.monotonic() - began_s
        wrong += soak.faults()
        lags = {name: processes.lag_counts(name) for name in ("server", "agent")}
        requests = {name: it.results.answered for name, it in soak.clients.items()}
    wrong += processes.changed
    if recorder.failure:
        wrong.append(recorder.failure)
    series = recorder.series()
    things_per_hour = len(soak.done) / took_s * 3600
    limits = {name: limit_of(name, things_per_hour) for name in series}
    warm = max(WARM_UP_SHARE, min(0.5, WARM_UP_S / took_s))
    verdicts = {name: judge(series[name], it.times(given.slack), warm) for name, it in limits.items() if it is not None}
    wrong += [f"{name}: {it.state}" for name, it in verdicts.items() if it.failed]
    lines = [f"{took_s:.0f} s, {len(soak.done)} changes, requests answered: {requests}", table(verdicts)]
    for name, counts in lags.items():
        p50_ms, p99_ms, most_ms = (quantile_ms(counts, share) for share in (0.5, 0.99, 1.0))
        lines.append(
            f"{name}: its event loop was late by p50 <= {p50_ms:g} ms, p99 <= {p99_ms:g} ms, at most {most_ms:g} ms"
        )
        if not counts or p99_ms > given.lag_bar_ms:
            wrong.append(
                f"{name}: its event loop is late by p99 <= {p99_ms:g} ms of {sum(counts)}; bar {given.lag_bar_ms:g} ms"
            )
    lines += ["failed:", *wrong] if wrong else ["nothing grows, nothing failed"]
    write_csv(given.out / "samples.csv", recorder.rows)
    (given.out / "verdicts.txt").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: matplotlib is not there (uv sync --group plots)")
    else:
        draw(given.out / "soak.png", series, [(at_s - began_s, what) for at_s, what in soak.done])
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
