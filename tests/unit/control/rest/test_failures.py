"""rest/failures: each code of the Api has the status that docs/rest.md tells, and words that stay as they are."""

import json
import re
from pathlib import Path

import grpc
import pytest
from homeport_control.api.errors import _CODES
from homeport_control.relay.statuses import STATUSES
from homeport_control.rest.failures import Failure

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "rest.md").read_text()
TOLD = {
    (int(status), code)
    for statuses, codes in re.findall(r"^\| ([0-9, ]+) \| ([A-Z_, ]+) \|", PAGE, re.MULTILINE)
    for status in statuses.split(", ")
    for code in codes.split(", ")
}


@pytest.mark.parametrize(
    "code", [code for _, code in _CODES] + [grpc.StatusCode.INTERNAL, grpc.StatusCode.DEADLINE_EXCEEDED]
)
def test_what_the_api_refuses_has_the_status_that_the_page_tells(code: grpc.StatusCode) -> None:
    assert (Failure.of(code, "no").status, code.name) in TOLD


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 400),
        (grpc.StatusCode.UNAUTHENTICATED, 401),
        (grpc.StatusCode.PERMISSION_DENIED, 403),
        (grpc.StatusCode.NOT_FOUND, 404),
        (grpc.StatusCode.ABORTED, 409),
        (grpc.StatusCode.FAILED_PRECONDITION, 409),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
        (grpc.StatusCode.INTERNAL, 500),
        (grpc.StatusCode.UNKNOWN, 500),
        (grpc.StatusCode.UNAVAILABLE, 503),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
    ],
)
def test_a_code_is_a_status(code: grpc.StatusCode, status: int) -> None:
    assert Failure.of(code, "no").status == STATUSES.get(code, 500) == status


def test_only_who_did_not_log_in_is_asked_for_a_token() -> None:
    asked = {code for code in grpc.StatusCode if Failure.of(code, "no").headers}
    assert asked == {grpc.StatusCode.UNAUTHENTICATED}


def test_the_words_are_there_as_they_were() -> None:
    said = json.loads(Failure.of(grpc.StatusCode.NOT_FOUND, 'no run "ä"\ud800').body)["error"]
    assert said == {"code": "NOT_FOUND", "message": 'no run "ä"?'}
