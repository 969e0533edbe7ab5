import pytest
from homeport_control.spec.problems import Mistake
from homeport_control.spec.ranges import Range
from homeport_control.spec.reading import read
from homeport_control.spec.traffic import ModelRoute, RateLimit, Scaling, parse_replicas


@pytest.mark.parametrize(
    ("written", "replicas"), [(1, Range(1, 1)), ("1..4", Range(1, 4)), ("0..1", Range(0, 1)), ("..3", Range(0, 3))]
)
def test_replicas_are_a_number_or_a_range(written: object, replicas: Range[int]) -> None:
    assert parse_replicas(written) == replicas


@pytest.mark.parametrize("written", [0, "1..", -1, 1001, "x", True])
def test_other_replicas_are_refused(written: object) -> None:
    with pytest.raises(Mistake):
        parse_replicas(written)


def test_scaling_has_the_delays_of_the_reference() -> None:
    scaling, _ = read(Scaling, {"metric": "rps", "target": 10})
    assert scaling == Scaling(metric="rps", target=10.0, scale_up_delay_s=300, scale_down_delay_s=600, window_s=60)


@pytest.mark.parametrize(
    "document", [{"metric": "rps", "target": 0}, {"metric": "cpu", "target": 1}, {"target": 1}, {"metric": "rps"}]
)
def test_a_wrong_scaling_is_refused(document: dict[str, object]) -> None:
    assert read(Scaling, document)[0] is None


def test_a_model_may_be_only_its_name() -> None:
    route, _ = read(ModelRoute, {"name": "m", "type": "chat", "format": "openai"})
    assert ModelRoute.long_form("m") == {"name": "m"}
    assert route == ModelRoute(name="m") == ModelRoute(name="m", prefix="/v1", type="chat", format="openai")


@pytest.mark.parametrize(
    ("document", "is_right"),
    [
        ({"name": "m", "type": "embeddings"}, True),
        ({"name": "m", "format": "tgi", "chat_template": "x", "eos_token": "</s>"}, True),
        ({"name": "m", "format": "tgi", "type": "embeddings"}, False),
        ({"name": "m", "chat_template": "x"}, False),
        ({"name": "m", "prefix": "v1"}, False),
        ({"name": ""}, False),
        ({"name": ["m", "n"], "weight": 0}, True),
        ({"name": []}, False),
        ({"name": ["m", "m"]}, False),
        ({"name": ["m", ""]}, False),
        ({"name": ["m", 5]}, False),
        ({"name": ["m"] * 21}, False),
        ({"name": "m", "weight": -1}, False),
        ({}, False),
    ],
)
def test_the_keys_of_a_model_belong_to_its_format(document: dict[str, object], is_right: bool) -> None:
    assert (read(ModelRoute, document)[0] is not None) is is_right


def test_a_model_may_have_several_names() -> None:
    several, _ = read(ModelRoute, {"name": ["org/m", "m"]})
    assert several is not None
    assert (several.name, several.names, several.weight) == (("org/m", "m"), ("org/m", "m"), None)
    assert read(ModelRoute, {"name": ["m"]})[0] == ModelRoute(name="m")
    assert ModelRoute(name="m").names == ("m",)
    assert ModelRoute.model_validate_json(several.model_dump_json()) == several


def test_a_rate_limit_is_read_in_both_forms() -> None:
    short, _ = read(RateLimit, {"prefix": "/v1", "rps": 5, "burst": 10, "key": "header", "header": "X-User"})
    long, _ = read(RateLimit, {"prefix": "/v1", "rps": 5, "burst": 10, "key": {"type": "header", "header": "X-User"}})
    assert short == long == RateLimit(prefix="/v1", rps=5.0, burst=10, key="header", header="X-User")
    assert read(RateLimit, {"rps": 1, "key": {"type": "ip_address"}})[0] == RateLimit(rps=1.0)


@pytest.mark.parametrize(
    "document",
    [{"rps": 0}, {}, {"rps": 1, "key": "header"}, {"rps": 1, "header": "X"}, {"rps": 1, "key": {"typ": "ip"}}],
)
def test_a_wrong_rate_limit_is_refused(document: dict[str, object]) -> None:
    assert read(RateLimit, document)[0] is None
