from typing import Any

import pytest
from homeport_control.spec.base_image import DEFAULT_TEMPLATE, check_template, hint_of, image_of
from homeport_control.spec.document import parse
from homeport_control.spec.problems import Mistake
from homeport_control.spec.service import ServiceSpec


def spec(**document: Any) -> ServiceSpec:
    found = parse({"type": "service", "port": 8000, "commands": ["run"], **document}).spec
    assert isinstance(found, ServiceSpec)
    return found


@pytest.mark.parametrize(
    ("document", "image"),
    [
        ({}, "homeport/base:py3.11"),
        ({"python": "3.10"}, "homeport/base:py3.10"),
        ({"resources": {"gpu": 1}}, "homeport/base:py3.11-cuda"),
        ({"resources": {"gpu": 0}}, "homeport/base:py3.11"),
        ({"nvcc": True}, "homeport/base:py3.11-nvcc"),
        ({"nvcc": True, "python": 3.12, "resources": {"gpu": "24GB"}}, "homeport/base:py3.12-nvcc"),
        ({"image": "busybox:1", "resources": {"gpu": 1}}, "busybox:1"),
    ],
)
def test_the_default_image_follows_python_and_gpu(document: dict[str, Any], image: str) -> None:
    assert image_of(spec(**document), DEFAULT_TEMPLATE) == image


def test_the_template_may_leave_placeholders_out() -> None:
    assert image_of(spec(python="3.12"), "lab.example/base:{python}") == "lab.example/base:3.12"
    assert image_of(spec(python="3.12"), "everything:1") == "everything:1"


def test_it_says_how_the_default_image_is_made_and_nothing_of_other_images() -> None:
    assert "`homeport image build --python 3.11`" in hint_of(spec())
    assert "`homeport image build --python 3.12 --variant cuda`" in hint_of(spec(python="3.12", resources={"gpu": 1}))
    assert "--variant nvcc" in hint_of(spec(nvcc=True))
    assert hint_of(spec(image="busybox")) == ""


@pytest.mark.parametrize("template", [DEFAULT_TEMPLATE, "lab.example:5000/base:{python}{variant}", "one:1"])
def test_a_good_template_is_kept(template: str) -> None:
    assert check_template(template) == template


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("base:{pyton}", "unknown placeholder `{pyton}`"),
        ("base:{}", "unknown placeholder `{}`"),
        ("base:{python.real}", "unknown placeholder"),
        ("base:{python!x}", "makes no image's name"),
        ("base:{python", "'}'"),
        ("a b", "makes no image's name"),
        ("", "makes no image's name"),
    ],
)
def test_a_wrong_template_is_told_on_one_line(template: str, message: str) -> None:
    with pytest.raises(Mistake) as caught:
        check_template(template)
    assert message in caught.value.message
    assert "\n" not in caught.value.message + caught.value.hint
