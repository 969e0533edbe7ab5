import json

import pytest
from homeport_cli.offering import FLAGS, asked, problem_lines
from homeport_protos.api.v1 import api_pb2


def test_flags_become_the_keys_of_the_language_and_what_is_not_given_is_left_out() -> None:
    request = asked({"resources.gpu": "24GB", "resources.cpu": None, "fleets": [], "hosts": ["a"]}, reuse=True)
    assert json.loads(request.json) == {"resources": {"gpu": "24GB"}, "hosts": ["a"]}
    assert request.reuse


@pytest.mark.parametrize("path", FLAGS)
def test_a_problem_at_a_key_or_below_it_names_the_flag(path: str) -> None:
    for place in (path, f"{path}.memory", f"{path}[0]"):
        assert problem_lines([api_pb2.Problem(path=place, message="is odd", hint="Do this")]) == [
            f"{FLAGS[path]}: is odd. Do this"
        ]


def test_a_problem_of_another_key_keeps_its_path() -> None:
    assert problem_lines([api_pb2.Problem(path="hostss", message="is odd")]) == ["hostss: is odd"]
    assert problem_lines([api_pb2.Problem(message="is odd")]) == ["is odd"]
