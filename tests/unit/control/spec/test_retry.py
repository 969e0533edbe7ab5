from typing import Any

import pytest
from homeport_control.spec.document import parse
from homeport_control.spec.problems import BadDocument
from homeport_control.spec.service import ServiceSpec


def service(retry: Any) -> dict[str, Any]:
    return {"type": "service", "image": "a", "port": 1, "retry": retry}


@pytest.mark.parametrize(
    ("written", "replaces"),
    [
        (True, True),
        (False, False),
        ("off", False),
        ({}, True),
        ({"on_events": ["error"]}, True),
        ({"on_events": ["interruption"]}, True),
        ({"on_events": ["no-capacity", "interruption", "error"]}, True),
        ({"on_events": ["no-capacity"]}, False),
        ({"on_events": ["error"], "duration": "off"}, True),
    ],
)
def test_a_map_means_on_when_a_failure_is_among_its_events(written: Any, replaces: bool) -> None:
    spec = parse(service(written)).spec
    assert isinstance(spec, ServiceSpec)
    assert spec.retry is replaces


@pytest.mark.parametrize(
    ("written", "path", "message"),
    [
        ({"on_events": ["error"], "duration": "1h"}, "retry.duration", "a limit for retries is not supported"),
        ({"duration": "soon"}, "retry.duration", "`soon` is not a duration"),
        ({"on_events": ["errors"]}, "retry.on_events[0]", "`errors` is not known here"),
        ({"on_events": []}, "retry.on_events", "names no event"),
        ({"on_event": ["error"]}, "retry.on_event", "unknown key `on_event`"),
        ("sometimes", "retry", "must be true or false"),
        ([], "retry", "must be true or false"),
    ],
)
def test_what_is_wrong_or_cannot_be_done_is_told_with_its_place(written: Any, path: str, message: str) -> None:
    with pytest.raises(BadDocument) as caught:
        parse(service(written))
    (problem,) = caught.value.problems
    assert problem.path == path
    assert message in problem.message
    assert problem.hint or path == "retry"
