"""What all worlds of one process share: simulated time, the ports that are replaced, one migrated database, one CA."""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim import clock

if TYPE_CHECKING:
    from sim.database import Folder
    from sim.run import Outcome
    from sim.server import Trust


@dataclass
class House:
    trust: "Trust"
    folder: "Folder"

    def play(self, seed: int, *, print_story: bool = False) -> "Outcome":
        from sim.run import play

        return play(seed, self.trust, self.folder, print_story=print_story)

    def play_many(self, seeds: Iterable[int], *, for_s: float, print_traces: bool) -> int:
        began_s, played, failed, virtual_s, cpu_s = clock.perf_s(), 0, [], 0.0, 0.0
        for seed in seeds:
            if for_s and clock.perf_s() - began_s > for_s:
                break
            outcome = self.play(seed)
            played += 1
            virtual_s += outcome.virtual_s
            cpu_s += outcome.cpu_s
            if print_traces:
                print(f"{seed} {outcome.trace}", flush=True)
            if outcome.wrong:
                failed.append(seed)
                print(f"seed {seed}: {' | '.join(outcome.wrong)[:1500]}", flush=True)
        took_s = clock.perf_s() - began_s
        times = f"{virtual_s:.0f} s of theirs in {took_s:.1f} s ({cpu_s:.1f} s of a processor)"
        print(f"{played} seeds, {times}; {len(failed)} went wrong: {failed}")
        for seed in failed[:3]:
            print(f"the story: PYTHONPATH=tests .venv/bin/python -m sim --seed {seed}")
        return 1 if failed else 0


def break_product(what: str) -> None:
    """Take a mend out of the product: the simulation must see it."""
    from homeport_control.loops import acknowledged

    match what:
        case "drain":  # drained with the ACK, whatever is in flight
            acknowledged.REPORTS_AFTER_ACK = 0
        case _:
            raise ValueError(what)


@contextmanager
def house() -> Iterator[House]:
    clock.install()
    from sim import machine
    from sim.database import Folder
    from sim.world import install_log, make_trust

    machine.install()
    install_log()
    folder = Folder()
    gc.collect()
    gc.freeze()
    try:
        yield House(make_trust(folder.path), folder)
    finally:
        folder.close()
