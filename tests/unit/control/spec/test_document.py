from typing import Any

import pytest
from homeport_control.spec.document import env_wanted, load_json, parse
from homeport_control.spec.problems import BadDocument, Problem
from homeport_control.spec.ranges import Range
from homeport_control.spec.service import ServiceSpec

# The file of the page that users come with (services.md), as YAML gives it.
PAGE: dict[str, Any] = {
    "type": "service",
    "name": "llama31-service",
    "python": "3.10",
    "env": ["HUGGING_FACE_HUB_TOKEN"],
    "commands": ["pip install vllm", "vllm serve meta-llama/Meta-Llama-3.1-8B-Instruct --max-model-len 4096"],
    "port": 8000,
    "spot_policy": "auto",
    "resources": {"gpu": "24GB"},
    "model": {"type": "chat", "name": "meta-llama/Meta-Llama-3.1-8B-Instruct", "format": "openai"},
}


def told(document: object, **arguments: Any) -> tuple[Problem, ...]:
    with pytest.raises(BadDocument) as caught:
        parse(document, **arguments)
    return caught.value.problems


def test_the_file_of_the_page_is_read() -> None:
    parsed = parse(PAGE, env={"HUGGING_FACE_HUB_TOKEN": "hf_x"})
    assert isinstance(parsed.spec, ServiceSpec)
    assert parsed.spec.model is not None
    assert parsed.spec.model.prefix == "/v1"
    assert parsed.spec.resources.gpu is not None
    assert parsed.spec.resources.gpu.memory_mib == Range(24576, 24576)
    assert parsed.secrets.env == {"HUGGING_FACE_HUB_TOKEN": "hf_x"}


def test_what_the_caller_must_give_is_known_before_it_is_given() -> None:
    assert env_wanted(PAGE) == ("HUGGING_FACE_HUB_TOKEN",)
    assert [problem.path for problem in told(PAGE)] == ["env[0]"]


@pytest.mark.parametrize("document", [None, 5, [], "x", {}, {"type": "fleet", "env": ["A"]}, {"env": ["A"]}])
def test_a_document_that_is_no_service_wants_nothing(document: object) -> None:
    assert env_wanted(document) == ()


@pytest.mark.parametrize("kind", ["volume", "task", "dev-environment"])
def test_other_types_are_refused_by_name(kind: str) -> None:
    (problem,) = told({"type": kind})
    assert problem.path == "type"
    assert problem.message == f"`{kind}` cannot be applied: Homeport runs services"


@pytest.mark.parametrize(
    ("document", "path", "part"),
    [
        (None, "", "is not a configuration"),
        ([1], "", "is not a configuration"),
        ("type: service", "", "is not a configuration"),
        ({}, "", "is empty"),
        ({"image": "a"}, "type", "is missing"),
        ({"type": "servce"}, "type", "`servce` is not known here"),
        ({"type": ["service"]}, "type", "is not known here"),
        ({"type": {}}, "type", "is not known here"),
    ],
)
def test_a_document_that_is_none_is_told_so(document: object, path: str, part: str) -> None:
    (problem,) = told(document)
    assert problem.path == path
    assert part in problem.message


def test_a_type_with_a_slip_gets_a_hint() -> None:
    (problem,) = told({"type": "servce"})
    assert problem.hint == "Did you mean `service`?"


def test_the_command_lines_name_and_reuse_win() -> None:
    spec = parse({"type": "service", "name": "old", "image": "a", "port": 1}, name="new-name", reuse=True).spec
    assert isinstance(spec, ServiceSpec)
    assert (spec.name, spec.creation_policy) == ("new-name", "reuse")


def test_a_wrong_name_of_the_command_line_is_told_as_such() -> None:
    (problem,) = told({"type": "service", "image": "a", "port": 1}, name="Not Good")
    assert problem.message == "-n: `Not Good` cannot be a name"


def test_what_is_no_json_is_a_bad_document() -> None:
    assert load_json('{"a": 1}') == {"a": 1}
    for text in ("", "{", "[" * 100_000, '{"a": ' + "1" * 5000 + "}"):
        with pytest.raises(BadDocument, match="is no JSON document"):
            load_json(text)
