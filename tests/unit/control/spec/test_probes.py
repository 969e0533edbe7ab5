from typing import Any

import pytest
from homeport_control.spec.probes import Header, Probe
from homeport_control.spec.reading import read


def test_a_probe_has_defaults() -> None:
    assert read(Probe, {"type": "http"})[0] == Probe(type="http")
    assert Probe(type="http").model_dump() == {
        "type": "http",
        "url": "/",
        "method": "get",
        "headers": (),
        "body": "",
        "timeout_s": 10,
        "interval_s": 5,
        "ready_after": 1,
    }


def test_all_of_it_is_read() -> None:
    probe, problems = read(
        Probe,
        {
            "type": "http",
            "url": "/health?full=1",
            "method": "POST",
            "headers": [{"name": "X-A", "value": 1}],
            "body": "{}",
            "timeout": "2s",
            "interval": "1m",
            "ready_after": 3,
        },
    )
    assert problems == ()
    assert probe == Probe(
        type="http",
        url="/health?full=1",
        method="post",
        headers=(Header(name="X-A", value="1"),),
        body="{}",
        timeout_s=2,
        interval_s=60,
        ready_after=3,
    )


def test_headers_may_be_a_map() -> None:
    probe, _ = read(Probe, {"type": "http", "headers": {"X-A": "b"}})
    assert probe is not None
    assert probe.headers == (Header(name="X-A", value="b"),)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "type"),
        ({"type": "tcp"}, "type"),
        ({"type": "http", "url": "health"}, "url"),
        ({"type": "http", "url": "/a b"}, "url"),
        ({"type": "http", "method": "fetch"}, "method"),
        ({"type": "http", "timeout": "off"}, "timeout"),
        ({"type": "http", "interval": 0}, "interval"),
        ({"type": "http", "ready_after": 0}, "ready_after"),
        ({"type": "http", "headers": [{"name": "a b", "value": "c"}]}, "headers[0].name"),
        ({"type": "http", "headers": [{"name": "a", "value": "b\r\nc: d"}]}, "headers[0].value"),
        ({"type": "http", "body": "x"}, ""),
    ],
)
def test_a_wrong_probe_is_told_with_its_place(document: dict[str, Any], path: str) -> None:
    probe, problems = read(Probe, document)
    assert probe is None
    assert [problem.path for problem in problems] == [path]
