import json
import shlex

import pytest
from fakes.text import lines
from google.protobuf.timestamp_pb2 import Timestamp
from homeport_cli import render
from homeport_protos.api.v1 import api_pb2

NOW_S = 1_800_000_000.0


def at(ago_s: float) -> Timestamp:
    return Timestamp(seconds=int(NOW_S - ago_s))


def replica(index: int = 0, **more: object) -> api_pb2.Replica:
    values: dict[str, object] = {
        "id": f"r{index}", "index": index, "revision": 1, "host": "gpu-1", "backend": "agent", "gpus": "A5000:24GB:1",
        "state": "running", "in_rotation": True, "probes_passed": 1, "probes_total": 1, "submitted_at": at(60),
    }  # fmt: skip
    return api_pb2.Replica(**{**values, **more})


def run(*replicas: api_pb2.Replica, **more: object) -> api_pb2.Run:
    values: dict[str, object] = {
        "id": "1", "name": "web", "state": "running", "revision": 1, "replicas_wanted": len(replicas),
        "submitted_at": at(180), "replicas": replicas,
    }  # fmt: skip
    return api_pb2.Run(**{**values, **more})


def ps(*runs: api_pb2.Run, verbose: bool = False, width: int = 1000) -> list[str]:
    return lines(render.runs(runs, NOW_S, verbose=verbose, width=width), width)


def test_ps_shows_a_run_in_one_row_while_its_replicas_are_alike() -> None:
    assert ps(run(replica(0), replica(1))) == [
        "NAME  BACKEND  HOST   GPU           REPLICAS  STATUS   PROBES  SUBMITTED",
        "web   agent    gpu-1  A5000:24GB:1  2/2       running  2/2     3 mins ago",
    ]


def test_ps_shows_each_replica_when_they_differ() -> None:
    shown = ps(run(replica(0), replica(1, host="gpu-2", state="pulling", in_rotation=False, probes_passed=0)))
    assert shown[1].split()[:4] == ["web", "1/2", "running", "1/2"]
    assert shown[2].split()[:6] == ["replica", "0", "agent", "gpu-1", "A5000:24GB:1", "running"]
    assert shown[3].split()[:6] == ["replica", "1", "agent", "gpu-2", "A5000:24GB:1", "pulling"]


def test_a_run_that_is_scaled_shows_its_range_and_with_verbose_the_last_verdict() -> None:
    web = run(replica(0), replicas_range="1..4", replicas_wanted=2, scaling="19 rps over 60 s, target 10: 2 wanted")
    assert "1/2 (1..4)" in ps(web)[1]
    assert not any("19 rps" in line for line in ps(web))
    assert ps(web, verbose=True)[-1] == "web: scaling: 19 rps over 60 s, target 10: 2 wanted"


def test_ps_verbose_shows_each_replica_always() -> None:
    assert len(ps(run(replica(0), replica(1)), verbose=True)) == 4


def test_ps_verbose_says_where_models_are_called() -> None:
    llm = run(replica(0), model="org/llama", model_url="http://gateway.localhost:7480/v1")
    assert ps(llm, run(replica(1)), verbose=True)[-1] == "web: model org/llama at http://gateway.localhost:7480/v1"
    assert not any("llama" in line for line in ps(llm))


def test_ps_says_ready_of_a_replica_that_no_gateway_serves_yet() -> None:
    assert "ready" in ps(run(replica(0, in_rotation=False)), verbose=True)[2]


def test_ps_names_the_revision_of_a_replica_that_has_another_one() -> None:
    shown = ps(run(replica(0, revision=2), replica(1, revision=1, state="draining"), revision=2))
    assert "replica 1 (revision 1)" in shown[3]
    assert "revision" not in shown[2]


def test_ps_leaves_ended_replicas_out_while_there_are_others() -> None:
    assert len(ps(run(replica(0), replica(1, state="terminated", in_rotation=False)))) == 2


def test_ps_has_an_error_column_only_when_there_is_something_to_say() -> None:
    assert "ERROR" not in ps(run(replica()))[0]
    shown = ps(run(replica()), run(name="big", state="pending", reason="no host has 24GB free", replicas_wanted=1))
    assert shown[0].endswith("ERROR")
    assert shown[2].endswith("no host has 24GB free")


def test_ps_does_not_call_the_reason_of_a_running_run_an_error() -> None:
    assert "ERROR" not in ps(run(replica(), reason="all is well"))[0]
    assert ps(run(replica(), error="revision 2: exit code 7"))[1].endswith("revision 2: exit code 7")


def test_ps_tells_what_a_starting_replica_waits_for() -> None:
    shown = ps(
        run(replica(state="queued", message="the registry cannot be reached"), state="provisioning", reason="0 of 1")
    )
    assert shown[1].endswith("the registry cannot be reached")


def test_ps_does_not_show_an_old_trouble_of_a_replica_that_leaves() -> None:
    assert "ERROR" not in ps(run(replica(state="terminating", message="no host fits"), state="terminating"))[0]


def test_ps_without_runs_says_so() -> None:
    assert ps() == ["No runs."]


def test_ps_fits_a_narrow_terminal_with_the_troubles_below_the_table() -> None:
    trouble = "no host fits: gpu-1 needs 24GB on 1 GPU"
    waiting = run(name="a-service", state="pending", reason=trouble, replicas_wanted=1)
    shown = ps(waiting, run(replica(0), replica(1, state="starting", message="slow disk")), width=80)
    assert max(map(len, shown)) <= 80
    assert "ERROR" not in shown[0]
    assert "SUBMITTED" in shown[0]
    assert shown[-2:] == [f"a-service: {trouble}", "web replica 1: slow disk"]


def test_a_name_with_square_brackets_is_no_markup() -> None:
    assert any("[red]x[/red]" in line for line in ps(run(state="failed", error="[red]x[/red]")))


def test_the_plan_shows_properties_changes_offers_and_refusals() -> None:
    answer = api_pb2.PlanResponse(
        properties=[api_pb2.Property(name="User", value="admin"), api_pb2.Property(name="Image", value="hello:1")],
        changes=[
            api_pb2.Change(path="image", old="hello:0", new="hello:1", how="rolling"),
            api_pb2.Change(path="auth", new="false", how="in place"),
        ],
        how="rolling",
        how_because="its replica is replaced",
        offers=[
            api_pb2.Offer(
                backend="agent", region="remote", host="gpu-1", resources="24xCPU, 64GB", price=0, availability="idle"
            ),
            api_pb2.Offer(backend="ssh", host="gpu-2", spot=True, price=1.25, availability="busy"),
        ],
        refusals=[api_pb2.Refusal(host="gpu-3", reason="needs 24GB on 1 GPU, largest free 11.2GB")],
    )
    shown = lines(render.plan(answer))
    assert shown[:2] == ["User   admin", "Image  hello:1"]
    assert [line.split() for line in shown[3:6]] == [
        ["CHANGE", "FROM", "TO", "HOW"],
        ["image", "hello:0", "hello:1", "rolling"],
        ["auth", "-", "false", "in", "place"],
    ]
    assert shown[7] == "Rolling: its replica is replaced"
    assert shown[9].split() == ["#", "BACKEND", "REGION", "HOST", "RESOURCES", "SPOT", "PRICE"]
    assert shown[10].split() == ["1", "agent", "remote", "gpu-1", "24xCPU,", "64GB", "no", "$0", "idle"]
    assert shown[11].split() == ["2", "ssh", "gpu-2", "yes", "$1.25", "busy"]
    assert shown[12] == "gpu-3: needs 24GB on 1 GPU, largest free 11.2GB"


def test_a_plan_that_replaces_a_run_says_so_without_a_way() -> None:
    shown = lines(render.plan(api_pb2.PlanResponse(how_because="the run web that has ended is replaced")))
    assert "the run web that has ended is replaced" in shown


def test_a_plan_that_no_host_fits_says_so_above_the_reasons() -> None:
    shown = lines(render.plan(api_pb2.PlanResponse(refusals=[api_pb2.Refusal(host="gpu-3", reason="is cordoned")])))
    assert shown[-3:-1] == ["No host fits.", "gpu-3: is cordoned"]


def test_a_plan_without_any_host_says_how_one_joins() -> None:
    assert "homeport fleet join-command" in lines(render.plan(api_pb2.PlanResponse()))[-2]


def test_what_is_published_ends_with_a_line_that_a_shell_can_run() -> None:
    title, command = render.published(run(url="http://web.localhost:7480"), "hp_x")
    assert title == "Service is published at http://web.localhost:7480"
    assert shlex.split(command) == ["curl", "-H", "Authorization: Bearer hp_x", "http://web.localhost:7480/"]


def test_what_sleeps_says_so_when_it_is_published() -> None:
    asleep = run(url="http://web.localhost:7480", replicas_range="0..4")
    assert render.published(asleep, "hp_x")[2:] == ["It is scaled to zero: the first request starts a replica"]


def test_a_service_without_authentication_gets_no_token_in_its_line() -> None:
    assert render.published(run(url="http://w.localhost:1", open=True), "hp_x")[1] == "curl http://w.localhost:1/"


@pytest.mark.parametrize(
    ("kind", "path", "asked"),
    [
        ("chat", "chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}),
        ("completions", "completions", {"prompt": "Hello"}),
        ("embeddings", "embeddings", {"input": "Hello"}),
    ],
)
@pytest.mark.parametrize("name", ["org/llama", 'it\'s "$(x)"', "\x1b[2J模"])
def test_a_model_is_published_with_a_line_that_a_shell_can_run(
    name: str, kind: str, path: str, asked: dict[str, object]
) -> None:
    url = "http://gateway.localhost:7480/v1"
    made = run(url="http://web.localhost:7480", model=name, model_type=kind, model_url=url)
    title, command = render.published(made, "hp_x")[2:]
    assert title == f"Model {name.replace(chr(27), '?')} is published at {url}"
    *words, address, flag, body = shlex.split(command)
    assert words == ["curl", "-H", "Authorization: Bearer hp_x", "-H", "Content-Type: application/json"]
    assert (address, flag) == (f"{url}/{path}", "-d")
    assert json.loads(body) == {"model": name, **asked}
    assert "\x1b" not in command


def test_a_run_without_an_address_is_still_reported() -> None:
    assert render.published(run(), "hp_x") == ["Service web is running"]


def test_json_has_the_apis_own_names_and_every_field() -> None:
    shown = json.loads(render.json_text(api_pb2.ListRunsResponse(runs=[run(replica())])))
    assert shown["runs"][0]["replicas_wanted"] == 1
    assert shown["runs"][0]["rolled_out"] is False
    assert shown["runs"][0]["replicas"][0]["in_rotation"] is True


@pytest.mark.parametrize(
    ("ago_s", "words"),
    [(0, "now"), (-5, "now"), (1, "1 sec ago"), (59, "59 sec ago"), (60, "1 min ago"), (7199, "1 hour ago"),
     (86400 * 3, "3 days ago")],
)  # fmt: skip
def test_an_age_is_its_largest_unit(ago_s: float, words: str) -> None:
    assert render.age(at(ago_s), NOW_S) == words


def test_a_moment_that_is_not_set_has_no_age() -> None:
    assert render.age(Timestamp(), NOW_S) == ""


def test_ps_verbose_says_what_is_reserved_of_gpu_memory_and_what_the_peak_was() -> None:
    held = {"gpu_memory_reserved_mib": 24576, "gpu_memory_peak_mib": 17715}
    alike = run(replica(0, **held), replica(1, **held))
    assert ps(alike, verbose=True)[-1] == "web: GPU memory of a replica: reserved 24GB, peak 17.3GB"
    assert not any("reserved" in line for line in ps(alike))
    rolling = run(replica(0, **held), replica(1, revision=2, gpu_memory_reserved_mib=40960), revision=2)
    assert ps(rolling, verbose=True)[-2:] == [
        "web: GPU memory of a replica of revision 1: reserved 24GB, peak 17.3GB",
        "web: GPU memory of a replica of revision 2: reserved 40GB",
    ]


def test_ps_tells_of_a_replica_that_holds_more_than_it_reserved() -> None:
    over = replica(0, gpu_memory_reserved_mib=24576, gpu_memory_mib=25600, over_reservation=True)
    assert ps(run(over))[1].endswith("holds 25GB of GPU memory, it reserved 24GB")
