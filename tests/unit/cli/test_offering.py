import json

import pytest
from homeport_cli.errors import UsageError
from homeport_cli.offering import FLAGS, asked, problem_lines, with_words
from homeport_protos.api.v1 import api_pb2


def test_flags_become_the_keys_of_the_language_and_what_is_not_given_is_left_out() -> None:
    document = asked({"resources.gpu": "24GB", "resources.cpu": None, "fleets": [], "hosts": ["a"]})
    assert json.loads(document) == {"resources": {"gpu": "24GB"}, "hosts": ["a"]}


@pytest.mark.parametrize("path", FLAGS)
def test_a_problem_at_a_key_or_below_it_names_the_flag(path: str) -> None:
    for place in (path, f"{path}.memory", f"{path}[0]"):
        assert problem_lines([api_pb2.Problem(path=place, message="is odd", hint="Do this")]) == [
            f"{FLAGS[path]}: is odd. Do this"
        ]


def test_a_problem_of_another_key_keeps_its_path() -> None:
    assert problem_lines([api_pb2.Problem(path="hostss", message="is odd")]) == ["hostss: is odd"]
    assert problem_lines([api_pb2.Problem(message="is odd")]) == ["is odd"]


def test_words_stand_for_flags_and_lists_take_one_value_each() -> None:
    values: dict[str, object] = {"resources.gpu": None, "resources.cpu": "4..", "hosts": ["a"], "fleets": None}
    words = ["gpu=24GB:2", "host=b", "fleet=lab", "shm-size=8GB"]
    assert with_words(values, words) == {
        "resources.gpu": "24GB:2", "resources.cpu": "4..", "resources.shm_size": "8GB", "hosts": ["a", "b"],
        "fleets": ["lab"],
    }  # fmt: skip
    assert values["hosts"] == ["a"]


@pytest.mark.parametrize("word", ["24GB", "gpus=24GB", "gpu=", "=24GB", "spot=yes"])
def test_a_word_that_is_none_says_which_there_are(word: str) -> None:
    with pytest.raises(UsageError, match=f"^{word} is not KEY=VALUE with a key of backend, cpu, disk, fleet, gpu"):
        with_words({}, [word])


def test_a_thing_is_said_once() -> None:
    with pytest.raises(UsageError, match="gpu is given twice: 24GB and 40GB"):
        with_words({"resources.gpu": "24GB"}, ["gpu=40GB"])
