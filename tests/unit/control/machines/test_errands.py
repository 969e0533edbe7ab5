"""machines/errands: how it speaks of a machine that it cannot reach. The rest needs one: tests/hosts/test_on_demand.py."""

import asyncssh
import pytest
from fixtures.control import FACTS
from homeport_control.domain.fleets import Errand, Phase, Place, Registration, Standby
from homeport_control.machines.crew import Failed
from homeport_control.machines.errands import ASLEEP, Errands, place_of
from homeport_protos.ssh.access import Access
from homeport_protos.ssh.places import Place as Reached
from homeport_protos.ssh.places import Wake
from rig.ports import free_port

KEY = asyncssh.generate_private_key("ssh-ed25519")
ACCESS = Access(KEY.export_private_key("openssh").decode(), KEY.export_public_key("openssh").decode())


def errand(brings_up: bool) -> Errand:
    standby = Standby(Phase.COMING, 0.0, FACTS)
    known = Registration("lab", Place("127.0.0.1", free_port(), "ops"), host_id="h1", standby=standby)
    return Errand(known, ACCESS.to_json(), "s:7400", brings_up)


async def test_one_that_does_not_answer_cannot_be_brought_up_and_needs_not_be_let_go() -> None:
    steps: list[str] = []
    errands = Errands("exit 1", 7402)
    with pytest.raises(Failed, match="refuses connections"):
        await errands.carry_out(errand(brings_up=True), steps.append)
    assert await errands.carry_out(errand(brings_up=False), steps.append) == "h1"
    assert steps[-1] == ASLEEP


def test_a_place_is_reached_as_its_owner_wrote_it() -> None:
    jump = Place("bastion", 22, "me", "~/.ssh/jump")
    there = Place("gpu-1", 2222, "ops", "~/.ssh/k", jump, "02:48:50:00:00:01", "10.0.0.255")
    assert place_of(there) == Reached(
        "gpu-1", 2222, "ops", "~/.ssh/k", Reached("bastion", 22, "me", "~/.ssh/jump"),
        Wake("02:48:50:00:00:01", "10.0.0.255"),
    )  # fmt: skip
