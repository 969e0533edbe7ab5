import pytest
from homeport.errors import (
    Denied,
    Error,
    Invalid,
    NotFound,
    Refused,
    TooSlow,
    Unauthenticated,
    Unreachable,
    status_error,
)

REFUSED = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: connect: Connection refused (111)"


def told(code: str, message: str) -> Error:
    error = status_error(code, message, "box:7400", 30)
    assert "\n" not in str(error)
    return error


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (REFUSED, "connection refused"),
        ("DNS resolution failed for box:7400: ...", "its name does not resolve"),
        ("failed to connect: No route to host", "no route to host"),
        ("last error: FD Shutdown: connect timed out", "no answer in time"),
        ("Ssl handshake failed: SSL_ERROR_SSL: WRONG_VERSION_NUMBER", "does not speak TLS"),
        ("Socket closed", "it closed the connection"),
        ("", "no connection"),
    ],
)
def test_a_server_that_cannot_be_reached_is_named_with_the_reason_and_what_to_do(message: str, reason: str) -> None:
    error = told("UNAVAILABLE", message)
    assert isinstance(error, Unreachable)
    assert "box:7400" in str(error)
    assert reason in str(error)
    assert "systemctl status homeport-server" in str(error)


@pytest.mark.parametrize(
    "message", ["Ssl handshake failed: CERTIFICATE_VERIFY_FAILED: self signed", "Hostname Verification Check failed."]
)
def test_a_server_with_another_certificate_is_not_called_down(message: str) -> None:
    error = told("UNAVAILABLE", message)
    assert "cannot trust the server at box:7400" in str(error)
    assert "homeport login" in str(error)


def test_a_bad_token_says_to_log_in_once() -> None:
    error = told("UNAUTHENTICATED", "the token expired")
    assert isinstance(error, Unauthenticated)
    assert str(error) == "the token expired; run `homeport login` with a valid token"
    said = "the token is not known here; run `homeport login` with a token of this server"
    assert str(told("UNAUTHENTICATED", said)) == said


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("INVALID_ARGUMENT", Invalid), ("OUT_OF_RANGE", Invalid), ("PERMISSION_DENIED", Denied), ("NOT_FOUND", NotFound),
        ("ABORTED", Refused), ("ALREADY_EXISTS", Refused), ("FAILED_PRECONDITION", Refused), ("RESOURCE_EXHAUSTED", Refused),
        ("INTERNAL", Error), ("UNKNOWN", Error), ("UNIMPLEMENTED", Error),
    ],
)  # fmt: skip
def test_each_status_is_an_error_of_its_kind(code: str, kind: type[Error]) -> None:
    assert type(told(code, "why")) is kind


def test_the_servers_own_line_is_what_the_user_reads() -> None:
    assert str(told("NOT_FOUND", "no run web;\n`homeport ps -a` shows all")) == "no run web; `homeport ps -a` shows all"


@pytest.mark.parametrize("code", ["NOT_FOUND", "INTERNAL", "PERMISSION_DENIED", "INVALID_ARGUMENT", "UNAUTHENTICATED"])
def test_a_status_without_words_is_still_a_line(code: str) -> None:
    assert len(str(told(code, ""))) > 20


def test_a_server_that_does_not_answer_is_told_apart_with_the_time_that_was_waited() -> None:
    error = told("DEADLINE_EXCEEDED", "Deadline Exceeded")
    assert isinstance(error, TooSlow)
    assert "within 30 s" in str(error)


def test_what_one_of_several_servers_says_itself_is_told_as_it_is() -> None:
    words = "no server that leads could be reached within 5 s: none leads now; try again in a moment"
    error = status_error("UNAVAILABLE", words, "10.0.0.1:7400", 30)
    assert isinstance(error, Unreachable)
    assert str(error) == words
