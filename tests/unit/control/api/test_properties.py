from typing import Any

from fixtures.control import service
from homeport_control.api.properties import properties
from homeport_control.spec.document import parse
from homeport_control.spec.service import ServiceSpec


def shown(**fields: Any) -> dict[str, str]:
    spec = parse(service(**fields)).spec
    assert isinstance(spec, ServiceSpec)
    return dict(properties("ann", spec, "homeport/base:py{python}{variant}"))


def test_a_small_service_shows_what_holds_for_it_in_the_languages_own_words() -> None:
    assert list(shown().items()) == [
        ("Project", "main"),
        ("User", "ann"),
        ("Configuration", "service"),
        ("Name", "hello"),
        ("Image", "hello:1"),
        ("Resources", "any"),
        ("Replicas", "1"),
        ("Port", "8000"),
        ("Authentication", "Bearer token"),
        ("Retry", "on"),
        ("Creation policy", "reuse-or-create"),
        ("Max duration", "off"),
        ("Stop duration", "5m"),
        ("Idle duration", "5m"),
    ]


def test_what_is_set_is_shown() -> None:
    found = shown(
        image=None,
        python="3.12",
        commands=["serve"],
        auth=False,
        retry=False,
        replicas="0..2",
        scaling={"metric": "rps", "target": 1},
        model={"type": "embeddings", "name": "m/e"},
        volumes=["/srv:/data", "models:/m"],
        max_duration="90m",
        stop_duration="10s",
        creation_policy="reuse",
        spot_policy="auto",
        max_price=1.5,
        hosts=["gpu-1", "gpu-2"],
        instance_types=["x"],
        privileged=True,
    )
    expected = {
        "Image": "homeport/base:py3.12",
        "Replicas": "0..2 by rps, target 1",
        "Authentication": "none",
        "Model": "m/e (embeddings)",
        "Volumes": "/srv:/data, models:/m",
        "Privileged": "yes",
        "Retry": "off",
        "Creation policy": "reuse",
        "Max duration": "90m",
        "Stop duration": "10s",
        "Spot policy": "auto",
        "Max price": "$1.5",
        "Instance types": "x",
        "Hosts": "gpu-1, gpu-2",
    }
    assert {name: found[name] for name in expected} == expected
    assert shown(model="llama")["Model"] == "llama"
