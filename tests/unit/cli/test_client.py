import threading
from collections.abc import Iterator

import grpc
import pytest
from fakes.api import TOKEN, FakeApi, self_signed
from homeport_cli.client import Api
from homeport_cli.config import Config
from homeport_cli.errors import CliError, NotLoggedIn, TooSlow, Unreachable, UsageError
from homeport_protos.api.v1 import api_pb2

RUNS = api_pb2.ListRunsResponse(runs=[api_pb2.Run(id="1", name="web")])


def client(api: FakeApi, token: str = TOKEN) -> Api:
    return Api(Config(api.address, token, api.certificate.pem.decode()))


def test_a_call_carries_the_token_over_tls_and_brings_the_answer(api: FakeApi) -> None:
    api.answers["ListRuns"] = RUNS
    with client(api) as calls:
        assert calls.list_runs(finished=True, names=["web"]) == RUNS
    assert api.requests("ListRuns") == [api_pb2.ListRunsRequest(all=True, names=["web"])]


def test_a_wrong_token_is_not_logged_in(api: FakeApi) -> None:
    with client(api, "hp_wrong") as calls, pytest.raises(NotLoggedIn, match=r"not known here.*homeport login"):
        calls.list_runs()


def test_a_servers_status_is_the_line_of_the_error(api: FakeApi) -> None:
    api.answers["StopRuns"] = (grpc.StatusCode.INVALID_ARGUMENT, "name at least one run")
    with client(api) as calls, pytest.raises(UsageError, match="name at least one run"):
        calls.stop_runs([])


def test_nobody_listening_is_unreachable(api: FakeApi) -> None:
    api.stop()
    with (
        client(api) as calls,
        pytest.raises(Unreachable, match=r"cannot reach .*: connection refused"),
    ):
        calls.list_runs()


def test_a_server_with_another_ca_never_sees_the_token(api: FakeApi) -> None:
    stranger = self_signed().pem.decode()
    with (
        Api(Config(api.address, TOKEN, stranger)) as calls,
        pytest.raises(Unreachable, match="cannot trust the server"),
    ):
        calls.list_runs()
    assert api.asked == []


def test_a_ca_that_is_no_certificate_is_one_line(api: FakeApi) -> None:
    broken = "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"
    with pytest.raises(CliError, match=r"CA|trust|TLS") as caught, Api(Config(api.address, TOKEN, broken)) as calls:
        calls.list_runs()
    assert "\n" not in str(caught.value)


def test_a_watch_outlives_a_server_that_comes_back(api: FakeApi) -> None:
    api.answers["WatchRuns"] = [RUNS]
    troubles: list[str] = []
    with client(api) as calls:
        watch = calls.watch_runs(on_trouble=troubles.append)
        assert next(watch) == RUNS
        api.stop()
        back = threading.Timer(0.3, api.start)
        back.start()
        assert next(watch) == RUNS
        back.join()
        watch.close()
    assert len(api.requests("WatchRuns")) == 2
    assert len(troubles) == 1
    assert api.address in troubles[0]


def test_a_watch_that_never_began_does_not_wait_for_the_server(api: FakeApi) -> None:
    api.stop()
    with client(api) as calls, pytest.raises(Unreachable):
        next(calls.watch_runs())


def test_a_token_that_is_revoked_meanwhile_ends_the_watch(api: FakeApi) -> None:
    api.answers["WatchRuns"] = (grpc.StatusCode.UNAUTHENTICATED, "the token me was revoked")
    with client(api) as calls, pytest.raises(NotLoggedIn, match="was revoked"):
        next(calls.watch_runs())


def test_an_upload_sends_all_messages(api: FakeApi) -> None:
    api.answers["UploadCode"] = api_pb2.UploadCodeResponse()
    pieces = [api_pb2.UploadCodeRequest(sha256="a", data=bytes([number])) for number in range(5)]
    with client(api) as calls:
        calls.upload_code(iter(pieces), 20)
    assert api.requests("UploadCode") == [pieces]


def test_what_goes_wrong_while_an_upload_is_read_is_its_error_and_ends_it_unfinished(
    api: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Iterator[api_pb2.UploadCodeRequest]:
        yield api_pb2.UploadCodeRequest(sha256="a", data=b"1")
        raise UsageError("the file is gone")

    api.answers["UploadCode"] = api_pb2.UploadCodeResponse()
    with client(api) as calls, pytest.raises(UsageError, match="the file is gone"):
        calls.upload_code(broken(), 20)
    assert api.requests("UploadCode") == []
    assert [record.message for record in caplog.records if "iterating requests" in record.message] == []


def test_an_upload_has_a_deadline(api: FakeApi) -> None:
    over = threading.Event()

    def endless() -> Iterator[api_pb2.UploadCodeRequest]:
        yield api_pb2.UploadCodeRequest(sha256="a", data=b"1")
        over.wait(20)

    try:
        with client(api) as calls, pytest.raises(TooSlow, match=r"within 0\.5 s"):
            calls.upload_code(endless(), 0.5)
    finally:
        over.set()
