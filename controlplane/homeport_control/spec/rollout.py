"""`rollout`: how the replicas of a new revision take the place of the old ones."""

from typing import Annotated

from pydantic import Field, model_validator

from homeport_control.spec.base import Model, Shown, reads
from homeport_control.spec.problems import Mistake
from homeport_control.spec.scalars import duration_s, duration_text, whole

MAX_REPLICAS = 1000
MAX_MIN_READY_S = 3600


def _replicas(value: object) -> int:
    return whole(value, least=0, most=MAX_REPLICAS)


def _min_ready_s(value: object) -> int:
    seconds = duration_s(value)
    if seconds > MAX_MIN_READY_S:
        raise Mistake(f"must be at most {duration_text(MAX_MIN_READY_S)}")
    return seconds


class Rollout(Model):
    """How an update replaces replicas. As it is, a new one serves before an old one leaves."""

    max_surge: Annotated[int, reads(_replicas)] = Field(
        1, description="How many replicas an update may have beside those that are wanted, 0 to 1000; each needs room"
    )
    max_unavailable: Annotated[int, reads(_replicas)] = Field(
        0,
        description="How many fewer than wanted may serve during an update, 0 to 1000. With `max_surge` an old one goes"
        " first only when a new one finds no host",
    )
    min_ready_duration_s: Annotated[int, reads(_min_ready_s), Shown(duration_text)] = Field(
        0,
        alias="min_ready_duration",
        description="How long a new replica must have been ready before it takes an old one's place, at most 1h. When it"
        " fails earlier, the new revision is given up and the one before goes on",
    )

    @model_validator(mode="after")
    def _something_may_move(self) -> "Rollout":
        if self.max_surge == 0 and self.max_unavailable == 0:
            raise Mistake(
                "`max_surge` and `max_unavailable` cannot both be 0: no replica could come or go",
                "Write `max_unavailable: 1` to let one go before its successor comes",
            )
        return self
