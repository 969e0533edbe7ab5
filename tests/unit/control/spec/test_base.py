from homeport_control.spec.base import DOCUMENT, keys_of
from homeport_control.spec.fleet import FleetSpec
from homeport_control.spec.gateway import GatewaySpec
from homeport_control.spec.resources import Resources
from homeport_control.spec.service import ServiceSpec


def test_keys_are_those_of_the_language() -> None:
    assert keys_of(Resources) == {"cpu", "memory", "disk", "shm_size", "gpu"}


def test_one_class_reads_documents_and_canonical_json() -> None:
    read = Resources.model_validate({"memory": "1GB"}, context=DOCUMENT, by_alias=True, by_name=False)
    assert Resources.model_validate_json(read.model_dump_json()) == read


def test_every_key_is_described() -> None:
    for model in (ServiceSpec, FleetSpec, GatewaySpec, Resources):
        assert [name for name, field in model.model_fields.items() if not field.description] == []
