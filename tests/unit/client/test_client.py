"""Both transports: every test is of the client that waits and of the one for asyncio."""

import inspect
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import homeport
import pytest
from fakes.api import TOKEN, FakeApi, self_signed
from homeport import AsyncClient, Client, Denied, Error, Failed, Invalid, NotFound, Refused, TooSlow, Unreachable
from homeport.operations.output import LogLine
from homeport.steps import Steps, Upload
from homeport_protos.api.v1 import api_pb2

WEB = api_pb2.Run(id="1", name="web", state="running", revision=1, newest_revision=1)
RUNS = api_pb2.ListRunsResponse(runs=[WEB])
Make = Callable[..., Any]


def served(run: api_pb2.Run = WEB, **fields: Any) -> api_pb2.ListRunsResponse:
    changed = api_pb2.Run()
    changed.CopyFrom(run)
    changed.MergeFrom(api_pb2.Run(**fields))
    return api_pb2.ListRunsResponse(runs=[changed])


def test_both_have_the_same_methods_with_the_same_arguments_and_help() -> None:
    def methods(kind: type) -> dict[str, tuple[str, str]]:
        found = {name: method for name, method in vars(kind).items() if not name.startswith("_") and name != "close"}
        return {name: (str(inspect.signature(it).parameters), it.__doc__) for name, it in found.items()}

    assert methods(Client) == methods(AsyncClient)
    assert len(methods(Client)) > 40


def test_an_answers_type_stands_in_the_signature() -> None:
    assert inspect.signature(Client.run).return_annotation is api_pb2.Run
    assert str(inspect.signature(Client.watch_runs).return_annotation).startswith("collections.abc.Iterator[list[")


def test_a_call_carries_the_token_over_tls_and_brings_the_answer(api: FakeApi, calls: Client) -> None:
    api.answers["ListRuns"] = RUNS
    assert calls.runs(finished=True, names=["web"]) == [WEB]
    assert api.requests("ListRuns") == [api_pb2.ListRunsRequest(all=True, names=["web"])]


def test_what_is_not_given_is_that_of_the_login(
    api: FakeApi, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    api.answers["ListRuns"] = RUNS
    (tmp_path / "ca.pem").write_bytes(api.certificate.pem)
    monkeypatch.setenv("HOMEPORT_TOKEN", "hp_other")
    with make(ca=tmp_path / "ca.pem") as calls:
        assert calls.runs() == [WEB]
    with make(token=None) as calls, pytest.raises(homeport.Unauthenticated):
        calls.runs()
    monkeypatch.delenv("HOMEPORT_TOKEN")
    with pytest.raises(homeport.Unauthenticated, match="the token not set"), make(token=None):
        pass


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, Invalid),
        (grpc.StatusCode.UNAUTHENTICATED, homeport.Unauthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, Denied),
        (grpc.StatusCode.NOT_FOUND, NotFound),
        (grpc.StatusCode.FAILED_PRECONDITION, Refused),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Refused),
        (grpc.StatusCode.INTERNAL, Error),
    ],
)
def test_a_servers_status_is_an_error_of_its_kind_with_the_servers_line(
    api: FakeApi, calls: Client, code: grpc.StatusCode, kind: type[Error]
) -> None:
    api.answers["StopRuns"] = api.answers["Events"] = (code, "because\nof that")
    with pytest.raises(kind, match="because of that") as caught:
        calls.stop("web")
    assert type(caught.value) is kind
    with pytest.raises(kind, match="because of that"):
        list(calls.events())


def test_nobody_listening_is_unreachable(api: FakeApi, calls: Client) -> None:
    api.stop()
    with pytest.raises(Unreachable, match=r"cannot reach .*: connection refused"):
        calls.runs()


def test_a_server_with_another_ca_never_sees_the_token(api: FakeApi, make: Make) -> None:
    with make(ca=self_signed().pem.decode()) as calls, pytest.raises(Unreachable, match="cannot trust the server"):
        calls.runs()
    assert api.asked == []


def test_a_ca_that_is_no_certificate_is_one_line(make: Make) -> None:
    broken = "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"
    with pytest.raises(Error, match=r"CA|trust|TLS") as caught, make(ca=broken) as calls:
        calls.runs()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("call", ["Client().runs()", "asyncio.run(AsyncClient().runs())"])
def test_grpc_prints_nothing_of_its_own_into_a_program(api: FakeApi, call: str) -> None:
    environment = {"HOMEPORT_SERVER": api.address, "HOMEPORT_TOKEN": TOKEN, "HOMEPORT_CA": self_signed().pem.decode()}
    script = f"import asyncio\nfrom homeport import *\ntry: {call}\nexcept Unreachable as error: print(error)"
    command = [sys.executable, "-P", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("cannot trust the server")


def test_what_cannot_be_a_token_is_never_quoted(make: Make) -> None:
    for secret in ("hp_geheim\u00fc", "hp_two\nlines"):
        with pytest.raises(homeport.Unauthenticated, match="the token is none") as caught, make(token=secret):
            pass
        assert secret not in str(caught.value)


def test_a_call_has_a_deadline(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes the connection and says nothing
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with make(address, deadline_s=0.3) as calls, pytest.raises(TooSlow, match=r"within 0\.3 s"):
            calls.runs()


def test_a_watch_outlives_a_server_that_comes_back(api: FakeApi, calls: Client) -> None:
    api.answers["WatchRuns"] = [RUNS]
    troubles: list[str] = []
    watch = calls.watch_runs(on_notice=troubles.append)
    assert next(watch) == [WEB]
    api.stop()
    back = threading.Timer(0.3, api.start)
    back.start()
    assert next(watch) == [WEB]
    back.join()
    watch.close()
    assert len(api.requests("WatchRuns")) == 2
    assert len(troubles) == 1
    assert api.address in troubles[0]


def test_a_watch_that_never_began_does_not_wait_for_the_server(api: FakeApi, calls: Client) -> None:
    api.stop()
    with pytest.raises(Unreachable):
        next(calls.watch_runs())


def test_a_token_that_is_revoked_meanwhile_ends_the_watch(api: FakeApi, calls: Client) -> None:
    api.answers["WatchRuns"] = (grpc.StatusCode.UNAUTHENTICATED, "the token me was revoked")
    with pytest.raises(homeport.Unauthenticated, match="was revoked"):
        next(calls.watch_runs())


def test_who_leaves_a_stream_ends_it_at_the_server(api: FakeApi, calls: Client) -> None:
    api.answers["WatchRuns"] = [RUNS]
    watch = calls.watch_runs()
    next(watch)
    watch.close()
    api.stop()  # waits for what is open: 20 s with one that is left behind


def test_events_that_are_followed_go_on_after_what_was_told(api: FakeApi, calls: Client) -> None:
    """The stream ends twice, as with a server that restarts; the second time the filter let nothing through."""

    def answer(*ids: int, last_id: int = 0) -> api_pb2.EventsResponse:
        events = [api_pb2.Event(id=number) for number in ids]
        return api_pb2.EventsResponse(events=events, last_id=last_id or max(ids))

    api.answers["Events"], api.finish_streams = [answer(1, 2), answer(last_id=9)], True
    troubles: list[str] = []
    watching = calls.events(follow=True, on_notice=troubles.append)
    assert [next(watching).id for _ in range(4)] == [1, 2, 1, 2]
    assert [(request.follow, request.after_id) for request in api.requests("Events")] == [(True, 0), (True, 9)]
    assert len(troubles) == 1


def test_lines_are_text_and_bytes_and_notes_are_told_beside_them(api: FakeApi, calls: Client) -> None:
    entry = api_pb2.LogEntry(replica=1, text=b"\xff one\n", stream="stderr", timestamp="T", replica_id="r", revision=2)
    api.answers["Logs"] = [api_pb2.LogsResponse(entries=[entry]), api_pb2.LogsResponse(note="a host is away")]
    api.finish_streams = True
    notes: list[str] = []
    assert list(calls.logs("web", tail=5, on_notice=notes.append)) == [
        LogLine("\ufffd one", b"\xff one\n", 1, 2, "r", "stderr", "T")
    ]
    assert notes == ["a host is away"]
    assert api.requests("Logs") == [api_pb2.LogsRequest(run_name="web", tail=5)]


def test_a_notice_that_nobody_asked_for_is_logged(
    api: FakeApi, calls: Client, caplog: pytest.LogCaptureFixture
) -> None:
    api.answers["Logs"], api.finish_streams = [api_pb2.LogsResponse(note="a host is away")], True
    assert list(calls.logs("web")) == []
    assert [(record.name, record.message) for record in caplog.records if record.name == "homeport"] == [
        ("homeport", "a host is away")
    ]


def test_metrics_are_one_answer_of_a_stream(api: FakeApi, calls: Client) -> None:
    api.answers["Metrics"] = [api_pb2.MetricsResponse(in_flight=3)]
    assert calls.metrics("web").in_flight == 3
    api.answers["Metrics"], api.finish_streams = [], True
    with pytest.raises(Error, match="the server ended Metrics"):
        calls.metrics("web")


def test_a_run_that_is_not_there_is_not_found(api: FakeApi, calls: Client) -> None:
    api.answers["ListRuns"] = api_pb2.ListRunsResponse()
    with pytest.raises(NotFound, match="no run web"):
        calls.run("web")


def applying(api: FakeApi, *states: api_pb2.ListRunsResponse, action: str = "create") -> None:
    api.answers["Plan"] = api_pb2.PlanResponse(run_name="web", action=action, plan_token="t")
    api.answers["Apply"] = api_pb2.ApplyResponse(run_name="web", run_id="1", revision=1)
    api.answers["ListRuns"] = RUNS
    api.answers["WatchRuns"] = list(states)


def test_an_apply_plans_submits_and_waits_until_it_serves(api: FakeApi, calls: Client) -> None:
    applying(api, api_pb2.ListRunsResponse(runs=[WEB]), served(rolled_out=True, url="http://web.localhost"))
    run = calls.apply({"type": "job"}, env={"A": "1"})  # its name is the one that was planned
    assert run.url == "http://web.localhost"
    (request,) = api.requests("Apply")
    assert (request.plan_token, request.document.name, dict(request.document.env)) == ("t", "web", {"A": "1"})


def test_an_apply_that_does_not_wait_tells_the_run_as_it_is(api: FakeApi, calls: Client) -> None:
    applying(api)
    assert calls.apply({}, wait=False) == WEB
    assert api.requests("WatchRuns") == []


def test_a_run_that_fails_raises_its_reason_with_the_end_of_its_log(api: FakeApi, calls: Client) -> None:
    applying(api, served(state="failed", error="exit code 7", log_tail=["boom"]))
    with pytest.raises(Failed, match="the run web failed: exit code 7") as caught:
        calls.apply({})
    assert caught.value.log_tail == ("boom",)
    assert caught.value.details[-1] == "boom"


def test_an_apply_that_takes_longer_than_was_given_is_too_slow(api: FakeApi, calls: Client) -> None:
    applying(api, RUNS)
    with pytest.raises(TooSlow, match=r"did not come within 0\.3 s"):
        calls.apply({}, within_s=0.3)


def test_what_is_unchanged_is_not_applied_again_but_waited_for(api: FakeApi, calls: Client) -> None:
    applying(api, served(rolled_out=True), action="unchanged")
    assert calls.apply({}).rolled_out
    assert api.requests("Apply") == []
    assert calls.apply({}, force=True).rolled_out
    assert [request.force for request in api.requests("Apply")] == [True]


def test_problems_of_a_document_are_invalid_with_the_lines_of_the_file(
    api: FakeApi, calls: Client, tmp_path: Path
) -> None:
    api.answers["Plan"] = api_pb2.PlanResponse(problems=[api_pb2.Problem(path="prot", message="no such key")])
    file = tmp_path / "x.homeport.yml"
    file.write_text("type: service\nprot: 1\n")
    with pytest.raises(Invalid, match="has 1 problem") as caught:
        calls.plan(file, repo=False)
    assert caught.value.details == (f"{file}:2: prot: no such key",)
    with pytest.raises(Invalid, match="the document has 1 problem") as caught:
        calls.plan({"type": "service", "prot": 1})
    assert caught.value.details == ("prot: no such key",)


def test_fleets_and_gateways_are_left_to_the_command_line(api: FakeApi, calls: Client) -> None:
    for kind in ("fleet", "gateway"):
        with pytest.raises(Invalid, match="`homeport apply`"):
            calls.apply({"type": kind, "name": "x"})
    assert api.asked == []


def test_code_goes_along_with_a_file_and_only_what_is_missing_is_sent(
    api: FakeApi, calls: Client, tmp_path: Path
) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("print()\n")
    (tmp_path / "app" / "x.homeport.yml").write_text("type: service\nname: web\n")
    api.answers["CheckCode"] = api_pb2.CheckCodeResponse(code_id="c0de")
    applying(api, served(rolled_out=True))
    calls.apply(str(tmp_path / "app" / "x.homeport.yml"))
    (entry,) = api.requests("CheckCode")[0].manifest.trees[0].entries
    assert entry.path == "main.py"
    assert api.requests("Plan")[0].document.code_id == "c0de"
    assert api.requests("UploadCode") == []
    api.answers["CheckCode"].missing_sha256.append(entry.sha256)
    api.answers["UploadCode"] = api_pb2.UploadCodeResponse()
    calls.apply(tmp_path / "app")
    ((piece,),) = api.requests("UploadCode")
    assert (piece.code_id, piece.data, piece.last) == ("c0de", b"print()\n", True)


def test_a_file_that_changes_while_it_is_sent_ends_the_upload_unfinished(
    api: FakeApi, calls: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "app" / "main.py"
    file.parent.mkdir()
    file.write_text("before")
    (tmp_path / "app" / "x.homeport.yml").write_text("type: service\nname: web\n")
    api.answers["CheckCode"] = api_pb2.CheckCodeResponse(code_id="c0de")
    prepared = calls.prepare(tmp_path / "app")
    api.answers["CheckCode"].missing_sha256.append(api.requests("CheckCode")[0].manifest.trees[0].entries[0].sha256)
    api.answers["UploadCode"] = api_pb2.UploadCodeResponse()
    prepared = calls.prepare(tmp_path / "app")
    file.write_text("after!")
    with pytest.raises(Invalid, match=r"main\.py changed while it was read"):
        calls.upload(prepared)
    assert not [piece for pieces in api.requests("UploadCode") for piece in pieces]
    assert [record.message for record in caplog.records if "iterating requests" in record.message] == []


def test_a_server_that_breaks_an_upload_off_is_its_own_line(api: FakeApi, calls: Client, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "weights").write_bytes(bytes(3_000_000))
    (tmp_path / "app" / "x.homeport.yml").write_text("type: service\nname: web\n")
    api.answers["CheckCode"] = api_pb2.CheckCodeResponse(code_id="c0de")
    calls.prepare(tmp_path / "app")
    api.answers["CheckCode"].missing_sha256.append(api.requests("CheckCode")[0].manifest.trees[0].entries[0].sha256)
    api.answers["UploadCode"] = (grpc.StatusCode.FAILED_PRECONDITION, "the disk is full;\nfree some space")
    with pytest.raises(Refused, match=r"^the disk is full; free some space$"):
        calls.upload(calls.prepare(tmp_path / "app"))


def test_a_stop_waits_until_the_runs_are_ended(api: FakeApi, calls: Client) -> None:
    api.answers["StopRuns"] = api_pb2.StopRunsResponse(stopping=["web"])
    api.answers["WatchRuns"] = [served(state="terminating"), served(state="terminated")]
    assert list(calls.stop("web", abort=True).stopping) == ["web"]
    assert api.requests("StopRuns") == [api_pb2.StopRunsRequest(names=["web"], abort=True)]
    api.answers["WatchRuns"] = [served(state="terminating")]
    with pytest.raises(TooSlow):
        calls.stop("web", within_s=0.2)


def test_a_rollback_waits_and_raises_when_it_comes_to_another_end(api: FakeApi, calls: Client) -> None:
    api.answers["Rollback"] = api_pb2.RollbackResponse(run_id="1", from_revision=2, to_revision=1)
    api.answers["WatchRuns"] = [RUNS, served(rolled_out=True)]
    assert calls.rollback("web").to_revision == 1
    api.answers["WatchRuns"] = [served(state="terminated", reason="stopped by ann")]
    with pytest.raises(Failed, match="stopped by ann"):
        calls.rollback("web")


def test_offers_say_what_is_wrong_with_what_was_asked(api: FakeApi, calls: Client) -> None:
    api.answers["ListOffers"] = api_pb2.ListOffersResponse(offers=[api_pb2.Offer(host="gpu-1")])
    assert calls.offers({"resources": {"gpu": "24GB"}}).offers[0].host == "gpu-1"
    api.answers["ListOffers"] = api_pb2.ListOffersResponse(problems=[api_pb2.Problem(path="gpu", message="is none")])
    with pytest.raises(Invalid, match="gpu: is none"):
        calls.offers({"resources": {"gpu": "x"}})


def test_an_upload_has_a_deadline_whatever_holds_it_up(calls: Client) -> None:
    over = threading.Event()

    def endless() -> Iterator[api_pb2.UploadCodeRequest]:
        yield api_pb2.UploadCodeRequest(sha256="a", data=b"1")
        over.wait(20)

    def upload() -> Steps[None]:
        yield Upload(endless(), 0.5)

    try:
        with pytest.raises(TooSlow, match=r"within 0\.5 s"):
            calls._done(upload())
    finally:
        over.set()
