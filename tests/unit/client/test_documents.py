import json

import pytest
from homeport.documents import document, sends_code, sends_folder, wanted_names


def test_names_without_a_value_are_found_in_a_list_and_in_a_map() -> None:
    assert wanted_names({"env": ["TOKEN", "A=1", "B=", "C"]}) == ["TOKEN", "C"]
    assert wanted_names({"env": {"TOKEN": None, "A": "1", "B": ""}}) == ["TOKEN"]


@pytest.mark.parametrize("content", [{}, [], "x", None, {"env": 3}, {"env": [1, None, {"a": 1}]}, {"env": None}])
def test_what_is_no_environment_asks_for_nothing(content: object) -> None:
    assert wanted_names(content) == []


def test_only_what_the_document_asks_for_leaves_the_callers_environment() -> None:
    made = document(
        json.dumps({"env": ["TOKEN", "MISSING", "OWN=1"]}),
        name=None,
        env={},
        environ={"TOKEN": "t", "OWN": "caller", "PATH": "/bin"},
        reuse=False,
    )
    assert dict(made.env) == {"TOKEN": "t"}


def test_flags_win_over_the_callers_environment() -> None:
    made = document('{"env": ["TOKEN"]}', name="web", env={"TOKEN": "flag=1"}, environ={"TOKEN": "env"}, reuse=True)
    assert dict(made.env) == {"TOKEN": "flag=1"}
    assert (made.name, made.reuse) == ("web", True)


@pytest.mark.parametrize("content", [{"type": "fleet"}, {"type": "gateway"}, {}, [], "service", None])
def test_code_goes_along_with_a_service_only(content: object) -> None:
    assert sends_code({"type": "service"})
    assert not sends_code(content)


@pytest.mark.parametrize("value", [False, "no", "Off", "FALSE"])
def test_repo_false_sends_no_folder_however_yaml_spells_it(value: object) -> None:
    assert not sends_folder({"type": "service", "repo": value})


@pytest.mark.parametrize("content", [{}, {"repo": None}, {"repo": True}, {"repo": "yes"}, {"repo": 3}])
def test_else_the_folder_goes_along(content: object) -> None:
    assert sends_folder(content)
