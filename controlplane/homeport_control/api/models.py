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
    if spec.model.weight is not None:
        return  # it means to share
    for run in await runs.list_active(connection):
        other = spec_from_json(run.newest.spec_json).model
        taken = () if other is None or run.name == spec.name else set(other.names) & set(spec.model.names)
        for name in sorted(taken):
            message = f"the model `{name}` is published by the service `{run.name}` already"
            hint = (
                f"Choose another name; or stop that service, `homeport stop {run.name}`; or write `weight` beside the "
                "name, to share its requests"
            )
            raise BadDocument((Problem("model.name", message, hint),))
