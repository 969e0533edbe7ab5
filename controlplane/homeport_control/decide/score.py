"""Which of the hosts that fit is better. The parts are compared one after the other; less is better; then by name.

1. has a warning: such a GPU or host may fail next, and what runs there would have to move. The last resort.
2. GB of the GPUs it takes: the smallest kind that will do, so that large ones stay for those who need them. A shared one
   takes no GPU: what it leaves is part 9.
3. replicas of this run there: a host that fails takes as few replicas of a service with it as can be.
4. GPUs that it would not use: what needs none stays off hosts that have some.
5. price.
6. and 7. how far its GPUs are from each other: the slowest path between two sets the pace, then the sum. For as long as it
   runs, so before what follows.
8. the image must be pulled: minutes, once.
9. what is left: of a shared GPU in MiB (packed tightest), else free GPUs there, so that large asks find hosts that are empty.
10. replicas there: without GPUs, where least is.

A named volume that is somewhere is no part of it: it leaves one host only (fit).
"""

from homeport_control.decide.capacity import Capacity
from homeport_control.decide.choice import Choice

PARTS = (
    "has a warning",
    "GB of the GPUs it takes",
    "replicas of this run there",
    "GPUs that it would not use",
    "price",
    "slowest path between its GPUs",
    "paths between its GPUs",
    "image must be pulled",
    "GPU memory or GPUs left free",
    "replicas there",
)
RUN = PARTS.index("replicas of this run there")
IMAGE = PARTS.index("image must be pulled")


def score(free: Capacity, choice: Choice) -> tuple[float, ...]:
    """Of a kind of ask: as if the run had no replica there, and the image were there (see `of_the_ask`)."""
    gpus = len(choice.gpus)
    return (
        1.0 if choice.warned or free.warned else 0.0,
        float(choice.size_gb),
        0.0,
        0.0 if gpus else float(len(free.rooms)),
        free.host.price,
        float(choice.worst),
        float(choice.distances),
        0.0,
        0.0 if not gpus else float(free.whole - gpus) if choice.size_gb else float(choice.left_mib),
        0.0 if gpus else float(free.replicas),
    )


def of_the_ask(found: tuple[float, ...], replicas: int, has_image: bool) -> tuple[float, ...]:
    """A score, or one with more behind it, of a run that has so many replicas there, and an image that is there or not."""
    return (*found[:RUN], float(replicas), *found[RUN + 1 : IMAGE], 0.0 if has_image else 1.0, *found[IMAGE + 1 :])


def told(found: tuple[float, ...]) -> tuple[tuple[str, float], ...]:
    return tuple(zip(PARTS, found, strict=False))
