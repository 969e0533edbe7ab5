"""Who is there: connected, unreachable, lost. And when so many vanish at once that the fault must be ours.

Pure. Does not cordon, replace or write anything (loops), and does not watch sessions (agents).
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from enum import StrEnum

from homeport_control.decide.progress import plural
from homeport_control.domain.hosts import Host

BEAT_S = 2.0  # an agent reports at least this often (Welcome.report_interval_s)
MISSED_BEATS = 3
LOST_AFTER_S = 10.0  # counted from the last sign of life
FREEZE_FROM_HOSTS = 3  # with one or two hosts "more than half" says nothing about whose fault it is


class Liveness(StrEnum):
    CONNECTED = "connected"
    UNREACHABLE = "unreachable"  # gets nothing new
    LOST = "lost"  # its replicas are replaced


@dataclass(frozen=True, slots=True)
class Beat:
    """The last sign of life of one host."""

    host_id: str
    name: str
    heard_at_s: float
    broken: bool = False  # its session has ended: nothing more will come, so no beats are waited for


@dataclass(frozen=True, slots=True)
class Verdict:
    host_id: str
    liveness: Liveness
    since_s: float  # the last sign of life when it is not connected
    reason: str  # empty when connected


@dataclass(frozen=True, slots=True)
class Judgement:
    verdicts: tuple[Verdict, ...]  # by host id
    sentence: str
    frozen: str  # why nothing is replaced although hosts are away; empty when nothing is frozen
    wake_at_s: float | None  # when silence alone changes a verdict

    @property
    def lost_host_ids(self) -> frozenset[str]:
        return frozenset(verdict.host_id for verdict in self.verdicts if verdict.liveness is Liveness.LOST)


def beat_of(host: Host) -> Beat:
    """Of one that is away, for a caller that watches sessions elsewhere and holds only what the store knows of a host."""
    return Beat(host.id, host.name, host.connection_since_s, broken=True)


def judge(
    beats: tuple[Beat, ...],
    now_s: float,
    *,
    heard: int = 0,
    beat_s: float = BEAT_S,
    missed: int = MISSED_BEATS,
    lost_after_s: float = LOST_AFTER_S,
) -> Judgement:
    """One verdict for each beat's host. `heard`: how many other hosts there are, each heard just now."""
    silent_after_s = missed * beat_s
    beats = tuple(sorted(beats, key=lambda beat: beat.host_id))
    away = {beat.host_id for beat in beats if beat.broken or now_s - beat.heard_at_s > silent_after_s}
    went_s = sorted(beat.heard_at_s for beat in beats if beat.host_id in away)
    connected = len(beats) - len(away) + heard
    wakes = [beat.heard_at_s + silent_after_s for beat in beats if beat.host_id not in away]
    verdicts: list[Verdict] = []
    frozen = ""
    for beat in beats:
        if beat.host_id not in away:
            verdicts.append(Verdict(beat.host_id, Liveness.CONNECTED, beat.heard_at_s, ""))
            continue
        silent_s = max(0.0, now_s - beat.heard_at_s)
        reason = f"{'session broken' if beat.broken else 'silent'} for {silent_s:.0f} s"
        if silent_s < lost_after_s:
            wakes.append(beat.heard_at_s + lost_after_s)
            verdicts.append(Verdict(beat.host_id, Liveness.UNREACHABLE, beat.heard_at_s, reason))
            continue
        near_s = beat.heard_at_s
        together = bisect_right(went_s, near_s + lost_after_s) - bisect_left(went_s, near_s - lost_after_s)
        seen = connected + together  # hosts that have been away for long say nothing about this moment
        if seen >= FREEZE_FROM_HOSTS and 2 * together > seen:
            frozen = (
                f"{together} of {seen} hosts vanished within {lost_after_s:g} s, which looks like the server's "
                f"own network: nothing is replaced until one of them returns or is deleted"
            )
            verdicts.append(Verdict(beat.host_id, Liveness.UNREACHABLE, beat.heard_at_s, f"{reason}; {frozen}"))
        else:
            verdicts.append(Verdict(beat.host_id, Liveness.LOST, beat.heard_at_s, reason))
    lost = sum(verdict.liveness is Liveness.LOST for verdict in verdicts)
    sentence = f"{connected} of {plural(len(beats) + heard, 'host')} connected"
    if away:
        sentence += f", {len(away) - lost} unreachable, {lost} lost"
    if frozen:
        sentence += f"; {frozen}"
    return Judgement(tuple(verdicts), sentence, frozen, min(wakes, default=None))
