"""What a model's name must not collide with: another service's model, or the address at which models are called.

Covers refusals for plan and apply. Two applies at one moment may both pass: then the gateway keeps the older one's
(decide/routes).
"""

from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.gateway import MODELS_LABEL
from homeport_control.spec.problems import BadDocument, Problem
from homeport_control.spec.service import ServiceSpec, spec_from_json
from homeport_control.store import runs

RESERVED_NAME = MODELS_LABEL


async def must_be_free(connection: AsyncConnection, spec: ServiceSpec) -> None:
    """Raises BadDocument when the service's name or its model's is not to be had."""
    if spec.name == RESERVED_NAME:
        message = f"`{RESERVED_NAME}` is no name for a service: models are called at `{RESERVED_NAME}.<domain>`"
        raise BadDocument((Problem("name", message, "Choose another name"),))
    if spec.model is None:
        return
    for run in await runs.list_active(connection):
        other = spec_from_json(run.newest.spec_json).model
        if run.name != spec.name and other is not None and other.name == spec.model.name:
            raise BadDocument(
                (
                    Problem(
                        "model.name",
                        f"the model `{spec.model.name}` is published by the service `{run.name}` already",
                        f"Choose another name, or stop that service: `homeport stop {run.name}`",
                    ),
                )
            )
