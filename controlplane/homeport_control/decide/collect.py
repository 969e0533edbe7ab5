"""Which code may go: what no active run may need any more, and nobody has asked for in the last day.

Pure. Does not remove anything (store.code), and does not look at contents: those follow their manifests.
"""

from collections.abc import Iterable, Mapping

from homeport_control.domain.replicas import Replica
from homeport_control.domain.services import Run

UNUSED_S = 24 * 3600.0
REVISIONS_KEPT = 3  # not given up, of each run: what it runs, and what a rollout falls back to


def codes_in_use(runs: Iterable[Run], replicas: Iterable[Replica]) -> frozenset[str]:
    """Codes of what runs or is about to, and of the newest revisions of each run that is not finished."""
    used: set[str] = set()
    by_id = {run.id: run for run in runs}
    for run in by_id.values():
        if run.ended_at_s is None:
            good = [revision for revision in run.revisions if not revision.failed]
            used.update(revision.code_id for revision in (*good[-REVISIONS_KEPT:], run.newest))
    for replica in replicas:
        if replica.ended_at_s is None and replica.run_id in by_id:
            used.add(by_id[replica.run_id].revision(replica.revision).code_id)
    return frozenset(used - {""})


def unused_codes(used_at_s: Mapping[str, float], in_use: Iterable[str], now_s: float) -> tuple[str, ...]:
    """What may go, sorted. `used_at_s`: when each code was last checked, uploaded or applied, by its id."""
    needed = set(in_use)
    return tuple(
        sorted(code_id for code_id, at_s in used_at_s.items() if at_s < now_s - UNUSED_S and code_id not in needed)
    )
