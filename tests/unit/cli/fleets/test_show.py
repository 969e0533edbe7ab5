"""fleets/show: the plan, the question, the progress."""

from fakes.text import lines
from homeport_cli.fleets import show
from homeport_protos.api.v1 import api_pb2
from homeport_protos.ssh.places import Place, Wake


def host(name: str, action: str, *, port: int = 22, replicas: int = 0) -> api_pb2.FleetHost:
    place = api_pb2.Place(hostname=name, port=port, user="ops")
    return api_pb2.FleetHost(place=place, action=action, reason="why", host=f"{name}-host", replicas=replicas)


def test_the_plan_counts_lists_and_shows_new_keys() -> None:
    answer = api_pb2.PlanFleetResponse(
        name="lab", action="update", hosts=[host("a", "new"), host("b", "unchanged", port=2222), host("c", "gone")]
    )
    shown = lines(show.plan(answer, {"a": "ssh-ed25519 SHA256:x"}))
    assert shown[0] == "Fleet lab: 1 to install, 1 to remove, 1 unchanged"
    assert [line.split()[:3] for line in shown[3:6]] == [
        ["a", "ops", "new"],
        ["b:2222", "ops", "unchanged"],
        ["c", "ops", "gone"],
    ]
    assert "  a  ssh-ed25519 SHA256:x" in shown


def test_the_question_names_who_is_busy() -> None:
    answer = api_pb2.PlanFleetResponse(
        name="lab", action="update", hosts=[host("a", "gone", replicas=2), host("b", "gone")]
    )
    assert show.question(answer) == "Change the fleet lab?; the replicas of a-host (2) move first"
    assert show.question(api_pb2.PlanFleetResponse(name="lab", action="create")) == "Make the fleet lab?"


def test_progress_is_a_row_per_machine() -> None:
    shown = lines(show.progress({"a": ("provisioning", "agent: installing"), "b": ("failed", "no route")}))
    assert [line.split()[:2] for line in shown[1:]] == [["a", "provisioning"], ["b", "failed"]]


def test_the_plan_of_an_on_demand_fleet_says_which_secrets_the_server_keeps() -> None:
    first, second = host("a", "new"), host("b", "unchanged")
    first.place.identity_file, first.place.jump.identity_file, second.place.identity_file = (
        "~/.ssh/k",
        "~/.ssh/j",
        "~/.ssh/x",
    )
    answer = api_pb2.PlanFleetResponse(name="lab", action="create", on_demand=True, hosts=[first, second])
    shown = lines(show.plan(answer, {}))
    assert shown[0] == "Fleet lab: 1 to look at, 1 unchanged"
    kept = "~/.ssh/k, ~/.ssh/j, the password for sudo, where it wants one"
    assert f"The server keeps, encrypted, to bring them up when a run needs them: {kept}" in shown


def test_a_place_is_what_the_server_says_it_is() -> None:
    jump = api_pb2.Place(hostname="bastion", port=22, user="me")
    there = api_pb2.Place(hostname="a", port=2222, user="ops", identity_file="~/k", jump=jump, wake_mac="02:00:00:00:00:01",
                          wake_broadcast="10.0.0.255")  # fmt: skip
    wake = Wake("02:00:00:00:00:01", "10.0.0.255")
    assert show.place_of(there) == Place("a", 2222, "ops", "~/k", Place("bastion", 22, "me"), wake)
    assert show.name_of(there) == "a:2222"
