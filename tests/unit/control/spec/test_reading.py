from typing import Any

import pytest
from homeport_control.spec.problems import Problem
from homeport_control.spec.reading import MAX_DEPTH, MAX_TEXT, broken, in_order, read
from homeport_control.spec.service import ServiceSpec


def messages(document: dict[str, Any]) -> dict[str, str]:
    _, problems = read(ServiceSpec, {"image": "a", "port": 1, **document})
    return {problem.path: problem.message for problem in problems}


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        ({"imag": "b"}, "imag", "unknown key `imag`"),
        ({"commands": "run"}, "commands", "must be a list, not text"),
        ({"commands": [5]}, "commands[0]", "must be text, not a number"),
        ({"commands": [True]}, "commands[0]", "must be text, not true or false"),
        ({"scaling": 5}, "scaling", "must be a map of keys and values"),
        ({"scaling": {"metric": "rsp", "target": 1}}, "scaling.metric", "`rsp` is not known here"),
        ({"scaling": {"metric": "rps"}}, "scaling.target", "is missing"),
        ({"probes": [{"type": "http", "tiemout": 1}]}, "probes[0].tiemout", "unknown key `tiemout`"),
    ],
)
def test_a_mistake_becomes_a_sentence_of_ours(document: dict[str, Any], path: str, message: str) -> None:
    assert messages(document) == {path: message}


def test_no_sentence_of_pydantic_is_left() -> None:
    # `registry_auth` is read by env, before the models
    everywhere = {name: {"a": [1]} for name in ServiceSpec.model_fields if name != "registry_auth"}
    assert [text for text in messages(everywhere).values() if "input" in text.lower()] == []


def test_a_key_without_a_value_is_not_given() -> None:
    assert messages({"scaling": None, "commands": None, "probes": None}) == {}


def test_an_unknown_key_without_a_value_is_unknown_too() -> None:
    assert messages({"scalin": None}) == {"scalin": "unknown key `scalin`"}


def test_text_that_cannot_be_stored_is_found_anywhere() -> None:
    paths = [problem.path for problem in broken({"a": ["x\0"], "b": {"c": "\ud800"}, "d": "y" * (MAX_TEXT + 1)})]
    assert paths == ["a[0]", "b.c", "d"]


def test_a_key_that_is_no_text_is_found() -> None:
    assert [problem.path for problem in broken({"a": {1: 2}})] == ["a"]


def test_endless_depth_is_found_where_it_gets_too_deep() -> None:
    deep: Any = "x"
    for _ in range(MAX_DEPTH + 50):
        deep = [deep]
    (problem,) = broken({"a": deep})
    assert "nested deeper" in problem.message


def test_problems_come_in_the_order_of_the_document() -> None:
    given = (Problem("b", "x"), Problem("a[1]", "y"), Problem("", "whole"), Problem("b", "x"))
    assert [problem.path for problem in in_order(given, {"a": 1, "b": 2})] == ["", "a[1]", "b"]
