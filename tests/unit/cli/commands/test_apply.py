"""`apply` from its flags to its exit code, against a server whose answers stand here."""

import hashlib
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from fakes.api import TOKEN, FakeApi
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]
Program = Callable[..., "subprocess.Popen[bytes]"]
DEADLINE_S = 30.0
URL = "http://web.localhost:7480"


def run(**more: object) -> api_pb2.Run:
    values: dict[str, object] = {"id": "1", "name": "web", "state": "provisioning", "revision": 1, "replicas_wanted": 1}
    return api_pb2.Run(**{**values, **more})


def listed(**more: object) -> api_pb2.ListRunsResponse:
    return api_pb2.ListRunsResponse(runs=[run(**more)])


def replica(state: str, **more: object) -> api_pb2.Replica:
    return api_pb2.Replica(**{"id": "a", "revision": 1, "host": "gpu-1", "state": state, **more})


STORY = [
    listed(replicas=[replica("pulling", pulled_bytes=120_000_000, pull_total_bytes=1_200_000_000)]),
    listed(replicas=[replica("starting")]),
    listed(replicas=[replica("running")]),
    listed(state="running", url=URL, rolled_out=True, replicas=[replica("running", in_rotation=True)]),
]


@pytest.fixture
def web(tmp_path: Path) -> str:
    file = tmp_path / "web.homeport.yml"
    file.write_text("type: service\nname: web\nenv:\n  - SECRET\n  - A=1\nport: 80\n")
    return str(file)


@pytest.fixture
def server(logged_in: FakeApi) -> FakeApi:
    """A server on which the run web is new, and comes up as in STORY."""
    logged_in.answers |= {
        "CheckCode": api_pb2.CheckCodeResponse(code_id="c"),
        "Plan": api_pb2.PlanResponse(
            run_name="web",
            action="create",
            plan_token="seen",
            properties=[api_pb2.Property(name="User", value="admin")],
            offers=[api_pb2.Offer(backend="agent", host="gpu-1", resources="4xCPU, 16GB", availability="idle")],
            refusals=[api_pb2.Refusal(host="gpu-2", reason="needs 24GB")],
        ),
        "Apply": api_pb2.ApplyResponse(run_name="web", run_id="1", revision=1, action="create"),
        "WatchRuns": STORY,
        "StopRuns": api_pb2.StopRunsResponse(stopping=["web"]),
    }
    return logged_in


def test_apply_ends_with_the_address_and_a_line_to_paste_on_stdout_and_the_rest_on_stderr(
    server: FakeApi, homeport: Homeport, web: str
) -> None:
    done = homeport("apply", "-f", web, "-y")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"Service is published at {URL}",
        f'curl -H "Authorization: Bearer $HOMEPORT_TOKEN" {URL}/',
    ]
    told = done.stderr.splitlines()
    assert "gpu-2: needs 24GB" in told
    assert told[-5:] == [
        "replica 0 on gpu-1: pulling 120MB of 1.2GB",
        "replica 0 on gpu-1: starting",
        "replica 0 on gpu-1: ready, waiting for the gateway",
        "web: running, 1/1 in rotation",
        "replica 0 on gpu-1: in rotation",
    ]


def test_apply_submits_what_was_planned(
    server: FakeApi, homeport: Homeport, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "from the caller")
    monkeypatch.setenv("A", "not asked for")
    done = homeport("apply", "-f", web, "-y", "-d", "-e", "B=2", "--reuse", "--force", "-n", "web")
    assert done.exit_code == 0
    (request,) = server.requests("Apply")
    assert (request.plan_token, request.force) == ("seen", True)
    assert request.document == server.requests("Plan")[0].document
    assert dict(request.document.env) == {"SECRET": "from the caller", "B": "2"}
    assert (request.document.name, request.document.reuse) == ("web", True)
    assert "from the caller" not in done.stdout + done.stderr


def test_a_name_that_the_server_drew_for_the_plan_is_the_one_that_is_submitted(
    server: FakeApi, homeport: Homeport, tmp_path: Path
) -> None:
    (tmp_path / "x.yml").write_text("type: service\n")
    assert homeport("apply", "-f", str(tmp_path / "x.yml"), "-y", "-d").exit_code == 0
    assert server.requests("Plan")[0].document.name == ""
    assert server.requests("Apply")[0].document.name == "web"


def test_detached_apply_prints_the_name_alone(server: FakeApi, homeport: Homeport, web: str) -> None:
    done = homeport("apply", "-f", web, "-y", "-d")
    assert (done.exit_code, done.stdout) == (0, "web\n")
    assert server.requests("WatchRuns") == []


def test_a_plan_changes_nothing_and_asks_nothing(server: FakeApi, homeport: Homeport, web: str) -> None:
    done = homeport("apply", "-f", web, "--plan")
    assert done.exit_code == 0
    assert "gpu-2: needs 24GB" in done.stdout
    assert done.stderr == ""
    assert server.requests("Apply") == []


def test_without_a_terminal_nothing_is_submitted_unless_y_says_so(
    server: FakeApi, homeport: Homeport, web: str
) -> None:
    done = homeport("apply", "-f", web, input="y\n")
    assert done.exit_code == 2
    assert "pass -y" in done.stderr
    assert server.requests("Apply") == []


def test_an_unchanged_file_says_so_and_does_nothing(server: FakeApi, homeport: Homeport, web: str) -> None:
    server.answers["Plan"] = api_pb2.PlanResponse(run_name="web", action="unchanged")
    done = homeport("apply", "-f", web)
    assert done.exit_code == 0
    assert "unchanged" in done.stderr
    assert server.requests("Apply") == []


@pytest.mark.parametrize("method", ["Plan", "Apply"])
def test_problems_of_the_document_are_shown_with_file_and_line_all_at_once(
    server: FakeApi, homeport: Homeport, web: str, method: str
) -> None:
    problems = [
        api_pb2.Problem(path="env[0]", message="Environment variable SECRET is not set"),
        api_pb2.Problem(path="port", message="must be higher", hint="write 8080"),
    ]
    message = api_pb2.PlanResponse if method == "Plan" else api_pb2.ApplyResponse
    server.answers[method] = message(problems=problems)
    done = homeport("apply", "-f", web, "-y")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-3:] == [
        f"Error: {web} has 2 problems:",
        f"{web}:4: env[0]: Environment variable SECRET is not set",
        f"{web}:6: port: must be higher. write 8080",
    ]


def test_a_failed_run_ends_with_its_reason_and_last_lines(server: FakeApi, homeport: Homeport, web: str) -> None:
    server.answers["WatchRuns"] = [
        *STORY[:2],
        listed(state="failed", error="3 exits", log_tail=["boom"]),
    ]
    done = homeport("apply", "-f", web, "-y")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-4:] == [
        "Error: the run web failed: 3 exits",
        "",
        "The last lines of its log:",
        "boom",
    ]


def test_a_revision_that_is_given_up_is_an_error_though_the_run_goes_on(
    server: FakeApi, homeport: Homeport, web: str
) -> None:
    server.answers["Apply"] = api_pb2.ApplyResponse(run_name="web", run_id="1", revision=2, action="update")
    server.answers["WatchRuns"] = [listed(state="running", revision=1, newest_revision=2, error="exit code 7")]
    done = homeport("apply", "-f", web, "-y")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == "Error: the update of web failed: exit code 7; revision 1 goes on serving"


def test_while_nothing_fits_the_reason_is_shown(server: FakeApi, homeport: Homeport, web: str) -> None:
    server.answers["WatchRuns"] = [listed(state="pending", reason="no host has 24GB free"), *STORY]
    done = homeport("apply", "-f", web, "-y")
    assert done.exit_code == 0
    assert "web: pending, 0/1 in rotation: no host has 24GB free" in done.stderr


def test_a_plan_that_is_stale_is_one_line(server: FakeApi, homeport: Homeport, web: str) -> None:
    server.answers["Apply"] = (grpc.StatusCode.ABORTED, "web was changed after this plan was made")
    done = homeport("apply", "-f", web, "-y")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == "Error: web was changed after this plan was made"


class Screen:
    """A program on a terminal of its own: what it shows, and what is typed."""

    def __init__(self, program: Program, *arguments: str) -> None:
        self._mine, its = pty.openpty()
        self.process = program(arguments, stdin=its, stdout=its, stderr=its, start_new_session=True)
        os.close(its)
        self.shown = ""

    def until(self, text: str) -> None:
        """Read until `text` is shown."""
        deadline_s = time.monotonic() + DEADLINE_S
        while text not in self.shown:
            ready, _, _ = select.select([self._mine], [], [], max(0, deadline_s - time.monotonic()))
            assert ready, f"{text!r} was not shown: {self.shown}"
            try:
                self.shown += os.read(self._mine, 65536).decode()
            except OSError:  # the other end is closed
                raise AssertionError(f"{text!r} was not shown: {self.shown}") from None

    def type(self, text: str) -> None:
        os.write(self._mine, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> int:
        return self.process.wait(DEADLINE_S)


def test_on_a_terminal_the_question_is_asked_and_no_means_no(server: FakeApi, program: Program, web: str) -> None:
    screen = Screen(program, "apply", "-f", web)
    screen.until("Submit the run web? [y/n]: ")
    screen.type("what\n")
    screen.until("what\r\nSubmit the run web? [y/n]: ")
    screen.type("n\n")
    screen.until("Nothing was submitted.")
    assert screen.end() == 0
    assert server.requests("Apply") == []


def test_on_a_terminal_yes_submits_and_the_line_to_paste_holds_the_token_of_the_file(
    server: FakeApi, homeport: Homeport, program: Program, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_bytes(server.certificate.pem)
    server.answers["GetServer"] = api_pb2.GetServerResponse(user="admin", role="admin")
    for name in ("SERVER", "TOKEN", "CA"):
        monkeypatch.delenv(f"HOMEPORT_{name}")
    login = homeport("login", "--server", server.address, "--token", TOKEN, "--ca", str(tmp_path / "ca.pem"))
    assert login.exit_code == 0, login.stderr
    screen = Screen(program, "apply", "-f", web)
    screen.until("Submit the run web? [y/n]: ")
    screen.type("y\n")
    screen.until(f'curl -H "Authorization: Bearer {TOKEN}" {URL}/')
    assert screen.end() == 0


def test_an_update_asks_by_its_own_name(server: FakeApi, program: Program, web: str) -> None:
    server.answers["Plan"] = api_pb2.PlanResponse(
        run_name="web", action="update", changes=[api_pb2.Change(path="auth", old="a", new="b")], how="in place"
    )
    screen = Screen(program, "apply", "-f", web)
    screen.until("Update the run web? (in place) [y/n]: ")
    assert "auth" in screen.shown
    forced = Screen(program, "apply", "-f", web, "--force")
    forced.until("Update the run web? (rolling) [y/n]: ")


@pytest.mark.parametrize(("answer", "stops"), [("y", 1), ("n", 0)])
def test_ctrl_c_while_watching_asks_whether_to_stop_the_run(
    server: FakeApi, program: Program, web: str, answer: str, stops: int
) -> None:
    server.answers["WatchRuns"] = STORY[:1]
    screen = Screen(program, "apply", "-f", web, "-y")
    screen.until("pulling 120MB of 1.2GB")
    screen.interrupt()
    screen.until("Stop the run web too? [y/n]: ")
    screen.type(f"{answer}\n")
    screen.until("Stopping web" if stops else "The run web goes on")
    assert screen.end() == 130
    assert len(server.requests("StopRuns")) == stops


def test_ctrl_c_twice_lets_the_run_go_on(server: FakeApi, program: Program, web: str) -> None:
    server.answers["WatchRuns"] = STORY[:1]
    screen = Screen(program, "apply", "-f", web, "-y")
    screen.until("pulling 120MB of 1.2GB")
    screen.interrupt()
    screen.until("Stop the run web too? [y/n]: ")
    screen.interrupt()
    screen.until("The run web goes on")
    assert screen.end() == 130
    assert server.requests("StopRuns") == []


def test_ctrl_c_without_a_terminal_lets_the_run_go_on_and_says_so(server: FakeApi, program: Program, web: str) -> None:
    server.answers["WatchRuns"] = STORY[:1]
    process = program(["apply", "-f", web, "-y"])
    assert server.stream_is_open.wait(DEADLINE_S)
    assert process.stderr is not None
    while b"pulling" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert b"The run web goes on" in errors
    assert b"Traceback" not in errors


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def lacking(server: FakeApi, web: str) -> FakeApi:
    """A server that lacks one file of the folder of `web`."""
    (Path(web).parent / "app.py").write_text("print()")
    server.answers["CheckCode"] = api_pb2.CheckCodeResponse(code_id="c0de", missing_sha256=[sha256("print()")])
    server.answers["UploadCode"] = api_pb2.UploadCodeResponse()
    return server


def test_the_folder_goes_along_and_what_the_server_lacks_is_sent_after_the_confirmation(
    lacking: FakeApi, homeport: Homeport, web: str
) -> None:
    done = homeport("apply", "-f", web, "-y", "-d")
    assert done.exit_code == 0, done.stderr
    assert [method for method, _ in lacking.asked] == ["CheckCode", "Plan", "UploadCode", "Apply"]
    (tree,) = lacking.requests("CheckCode")[0].manifest.trees
    assert (tree.target, [entry.path for entry in tree.entries]) == (
        "/workflow",
        ["app.py"],
    )  # the document stays behind
    assert lacking.requests("Plan")[0].document.code_id == lacking.requests("Apply")[0].document.code_id == "c0de"
    folder = Path(web).parent
    (row,) = [line for line in done.stderr.splitlines() if line.startswith("Code ")]
    assert row.endswith(f" 1 file, 7B from {folder} (1 file, 7B to upload)")
    assert "Uploading 1 file, 7B" in done.stderr


@pytest.mark.parametrize("flags", [["--plan"], []])
def test_nothing_is_sent_without_a_confirmation(
    lacking: FakeApi, homeport: Homeport, web: str, flags: list[str]
) -> None:
    homeport("apply", "-f", web, *flags)
    assert [method for method, _ in lacking.asked] == ["CheckCode", "Plan"]


def test_an_unchanged_file_sends_nothing(lacking: FakeApi, homeport: Homeport, web: str) -> None:
    lacking.answers["Plan"] = api_pb2.PlanResponse(run_name="web", action="unchanged")
    assert homeport("apply", "-f", web, "-y").exit_code == 0
    assert lacking.requests("UploadCode") == []


@pytest.mark.parametrize("how", ["--no-repo", "repo: false"])
def test_no_code_goes_along_when_none_is_wanted(server: FakeApi, homeport: Homeport, web: str, how: str) -> None:
    text = "type: service\n"
    Path(web).write_text(text if how == "--no-repo" else f"{text}{how}\n")
    done = homeport("apply", "-f", web, "-y", "-d", *(["--no-repo"] if how == "--no-repo" else []))
    assert done.exit_code == 0, done.stderr
    assert server.requests("CheckCode") == []
    assert server.requests("Apply")[0].document.code_id == ""
    assert "Code " not in done.stderr


def test_files_go_along_without_the_folder(server: FakeApi, homeport: Homeport, web: str) -> None:
    (Path(web).parent / "key").write_text("k")
    Path(web).write_text("type: service\nfiles:\n  - key:/opt/the.key\n")
    assert homeport("apply", "-f", web, "-y", "-d", "--no-repo").exit_code == 0
    (tree,) = server.requests("CheckCode")[0].manifest.trees
    assert (tree.target, [entry.path for entry in tree.entries]) == ("/opt", ["the.key"])


def test_a_missing_file_is_told_with_its_line_and_with_the_problems_of_the_server(
    server: FakeApi, homeport: Homeport, web: str
) -> None:
    Path(web).write_text("type: service\nports: 80\nfiles:\n  - none.txt\n")
    server.answers["Plan"] = api_pb2.PlanResponse(problems=[api_pb2.Problem(path="ports", message="unknown key")])
    done = homeport("apply", "-f", web, "-y")
    assert done.exit_code == 2
    assert done.stderr.splitlines() == [
        f"Error: {web} has 2 problems:",
        f"{web}:2: ports: unknown key",
        f"{web}:4: files[0]: there is no `none.txt` on this machine. Looked for {Path(web).parent}/none.txt",
    ]
    assert server.requests("CheckCode") == []


def test_what_cannot_be_sent_is_a_mistake_of_the_caller_and_nothing_is_asked_for(
    server: FakeApi, homeport: Homeport, web: str
) -> None:
    os.mkfifo(Path(web).parent / "pipe")
    done = homeport("apply", "-f", web, "-y")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == "  pipe (a named pipe)"
    assert server.asked == []
