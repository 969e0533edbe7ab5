"""An update of a run that is there: which of its replicas go on as they are, told before and carried out in the apply.

Covers holding the new version against what runs. Does not cover the words (decide.updates), nor who is replaced when
(the runs loop: it finds the replicas that go on already numbered as the new revision's, so nothing is left to replace).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.decide.adopt import adopted, candidates
from homeport_control.decide.scaling import count_after_apply, count_of
from homeport_control.decide.updates import how_it_is_made
from homeport_control.domain.replicas import Replica
from homeport_control.domain.services import Run
from homeport_control.spec.diff import diff
from homeport_control.spec.env import Secrets
from homeport_control.spec.impact import IN_PLACE, strongest
from homeport_control.spec.service import ServiceSpec, spec_from_json
from homeport_control.store import replicas, runs
from homeport_control.store.connect import Write
from homeport_control.trust.sealing import Sealer


@dataclass(frozen=True, slots=True)
class Version:
    """What a container is made from."""

    spec: ServiceSpec
    secrets: Secrets
    code_id: str


class Updates:
    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def how(
        self, connection: AsyncConnection, run: Run, new: Version, *, has_room: bool, anew: bool
    ) -> tuple[str, str]:
        """How it would be made, and what that means for this run. `anew`: its replicas are to be new ones in any case."""
        present = await _present(connection, run)
        same = None if anew else await self._same(connection, run, present, new)
        count = count_after_apply(new.spec.replicas, _count(run), goes_on=same is not None)
        return how_it_is_made(
            run.name,
            present,
            count,
            same,
            has_room=has_room,
            surge=new.spec.rollout.max_surge,
            max_unavailable=new.spec.rollout.max_unavailable,
        )

    async def carry_on(self, write: Write, run: Run, new: Version, revision: int, *, anew: bool = False) -> None:
        """Number what goes on as it is as replicas of the new revision, and say how many it has of its range, in the
        transaction that writes it.

        `run`: as it was before. `anew`: its replicas are to be new ones in any case.
        """
        present = await _present(write.connection, run)
        same = None if anew else await self._same(write.connection, run, present, new)
        if same is not None:
            for replica in adopted(present, same):
                await replicas.renumber(write, replica, run.name, revision)
        count = count_after_apply(new.spec.replicas, _count(run), goes_on=same is not None)
        proven = {"proven_revision": revision} if same is not None and same == run.proven_revision else {}
        await runs.update(write, run.id, scaled_to=count, **proven)

    async def _same(
        self, connection: AsyncConnection, run: Run, present: Sequence[Replica], new: Version
    ) -> int | None:
        """The newest revision of what is there whose containers are what the new one's would be; None: there is none."""
        for number in candidates(run, present):
            revision = run.revision(number)
            if revision.code_id != new.code_id:
                continue
            secrets = Secrets.from_json(self._sealer.open(await runs.sealed_secrets(connection, run.id, number)))
            if strongest(diff(spec_from_json(revision.spec_json), secrets, new.spec, new.secrets)) == IN_PLACE:
                return number
        return None


def _count(run: Run) -> int:
    return count_of(spec_from_json((run.current or run.newest).spec_json).replicas, run.scaled_to)


async def _present(connection: AsyncConnection, run: Run) -> tuple[Replica, ...]:
    return await replicas.of_run(connection, run.id)
