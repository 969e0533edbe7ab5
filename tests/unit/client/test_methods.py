from homeport import methods
from homeport.methods import Method
from homeport_protos.api.v1 import api_pb2

SERVICE = api_pb2.DESCRIPTOR.services_by_name["Api"]
TABLE = [method for method in vars(methods).values() if isinstance(method, Method)]


def test_the_table_has_every_method_of_the_api_with_its_messages() -> None:
    told = {method.name: (method.path, method.ask.DESCRIPTOR, method.answer.DESCRIPTOR) for method in TABLE}
    assert told == {
        method.name: (f"/{SERVICE.full_name}/{method.name}", method.input_type, method.output_type)
        for method in SERVICE.methods
    }
