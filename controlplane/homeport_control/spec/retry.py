"""`retry`: true or false, or the page's map of events, read into what Homeport does: replace a replica that dies, or not."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from homeport_control.spec.base import Model, Shown, reads
from homeport_control.spec.problems import Mistake, Problem, path_of
from homeport_control.spec.reading import read
from homeport_control.spec.scalars import duration_or_off_s, duration_text, yes_or_no

Event = Literal["no-capacity", "interruption", "error"]
EVENTS: tuple[Event, ...] = ("no-capacity", "interruption", "error")


def _events(value: object) -> object:
    if value == []:
        raise Mistake("names no event", "Write `retry: false`, or name some of no-capacity, interruption, error")
    return value


class Retry(Model):
    """`retry` as a map, the page's spelling. A service keeps of it only whether replicas that die are replaced."""

    on_events: Annotated[tuple[Event, ...], reads(_events)] = Field(
        EVENTS,
        description="What is tried again; all of them without. `error` (a replica that dies) and `interruption` (a host"
        " that is lost) both mean `retry: true`; `no-capacity` alone means `retry: false`: a replica always waits for"
        " a host that fits",
    )
    duration_s: Annotated[int | None, reads(duration_or_off_s), Shown(duration_text)] = Field(
        None, alias="duration", description="Only `off`: Homeport tries without an end, slower each time"
    )


def replaces(value: object) -> bool:
    """Whether a replica that dies is replaced. What is wrong with a map is told by `retry_problems`."""
    if not isinstance(value, Mapping):
        return yes_or_no(value)
    spec, _ = read(Retry, dict(value))
    return spec is None or bool({"error", "interruption"} & set(spec.on_events))


def retry_problems(value: Any) -> Iterator[Problem]:
    """Mistakes of the map, and what of it cannot be carried out."""
    if not isinstance(value, Mapping):
        return
    spec, problems = read(Retry, dict(value))
    for problem in problems:
        path = f"[{problem.path[1:]}" if problem.path.startswith("[") else f".{problem.path}" if problem.path else ""
        yield Problem(path_of(("retry",)) + path, problem.message, problem.hint)
    if spec is not None and spec.duration_s is not None:
        yield Problem(
            "retry.duration",
            "a limit for retries is not supported: Homeport retries with a back-off (1 s to 5 min) and no end",
            "Leave `duration` out; `max_duration` ends a run after a time, `retry: false` at its first failure",
        )
