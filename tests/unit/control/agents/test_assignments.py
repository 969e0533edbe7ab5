"""agents/assignments: what a host must run, with the secrets of what it runs and of nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fixtures.control import (
    FACTS,
    State,
    a_host,
    add_gateway,
    add_host,
    add_replica,
    add_run,
    get_replica,
    get_run,
    opened,
    service,
)
from homeport_control.agents.assignments import Assignments, part_of, run_environment, working_dir
from homeport_control.domain.errors import NotReady
from homeport_control.domain.hosts import GATEWAYS_FLEET, Door
from homeport_control.domain.replicas import Wanted
from homeport_control.domain.services import Revision
from homeport_control.settings import ServerSettings
from homeport_control.spec.document import parse
from homeport_control.spec.service import ServiceSpec
from homeport_control.store import doors, hosts, replicas
from homeport_control.trust.sealing import Sealer
from homeport_protos.agent.v1 import agent_pb2

SETTINGS = ServerSettings(Path("/nowhere"), link_port=7001, gateway_port=7002, ready_timeout_s=33.0)


def assignments(state: State) -> Assignments:
    return Assignments(state.database, state.sealer, SETTINGS)


async def test_the_whole_configuration_arrives(state: State) -> None:
    await add_host(state)
    run_id = await add_run(
        state,
        image="registry.example/app:2",
        registry_auth={"username": "robot", "password": "of-the-registry"},
        env=["KEY=value"],
        port=9000,
        commands=["serve --now"],
        working_dir="/srv",
        user="1000",
        volumes=["/data:/mnt/data"],
        stop_duration="2m",
        resources={"cpu": "2", "memory": "4GB", "shm_size": "1GB"},
        probes=[{"type": "http", "url": "/health", "interval": "3s", "timeout": "2s", "ready_after": 2}],
    )
    await add_replica(state, run_id, "r1", index=3, host_id="h1")
    (assigned,) = (await assignments(state).of_host("h1")).replicas
    assert (assigned.run_name, assigned.revision, assigned.index, assigned.image) == (
        "hello", 1, 3, "registry.example/app:2",
    )  # fmt: skip
    assert (assigned.registry_auth.username, assigned.registry_auth.password) == ("robot", "of-the-registry")
    assert (assigned.env["KEY"], assigned.env["HOMEPORT_RUN_NAME"]) == ("value", "hello")
    assert (assigned.container_port, assigned.working_dir, assigned.user) == (9000, "/srv", "1000")
    assert "serve --now" in " ".join([*assigned.entrypoint, *assigned.command])
    assert [(v.source, v.target, v.optional) for v in assigned.volumes] == [("/data", "/mnt/data", False)]
    (probe,) = assigned.probes
    assert (probe.url, probe.method, probe.interval_s, probe.timeout_s, probe.ready_after) == (
        "/health", "GET", 3.0, 2.0, 2,
    )  # fmt: skip
    assert (assigned.ready_timeout_s, assigned.stop_grace_s, assigned.retry) == (33.0, 120.0, True)
    assert assigned.shm_size_mib == 1024


async def test_a_service_may_take_longer_for_its_start_than_the_server_allows_by_itself(state: State) -> None:
    await add_host(state)
    await add_replica(state, await add_run(state, start_timeout="45m"), "r1", host_id="h1")
    (assigned,) = (await assignments(state).of_host("h1")).replicas
    assert assigned.ready_timeout_s == 2700.0


async def test_without_an_image_it_is_the_servers_default_one_never_pulled_again(state: State) -> None:
    await add_host(state)
    own = replace(SETTINGS, base_image="lab.example/py:{python}{variant}")
    run_id = await add_run(state, image=None, python="3.12", commands=["python -V"])
    await add_replica(state, run_id, "r1", host_id="h1")
    (assigned,) = (await Assignments(state.database, state.sealer, own).of_host("h1")).replicas
    assert (assigned.image, assigned.always_pull) == ("lab.example/py:3.12", False)
    assert (list(assigned.entrypoint), list(assigned.command)) == (["sh", "-c"], ["python -V"])
    assert "`homeport image build --python 3.12`" in assigned.image_hint
    other = await add_run(state, "other", image="busybox")
    await add_replica(state, other, "r2", host_id="h1")
    (assigned,) = [it for it in (await assignments(state).of_host("h1")).replicas if it.run_name == "other"]
    assert (assigned.image, assigned.image_hint) == ("busybox", "")


async def test_home_dir_is_home_unless_env_says_otherwise(state: State) -> None:
    await add_host(state)
    for number, (name, env, home) in enumerate([("one", [], "/home/me"), ("two", ["HOME=/x"], "/x")]):
        run_id = await add_run(state, name, home_dir="/home/me", env=env)
        await add_replica(state, run_id, f"r{number}", host_id="h1")
        (assigned,) = [it for it in (await assignments(state).of_host("h1")).replicas if it.run_name == name]
        assert assigned.env["HOME"] == home
    plain = await add_run(state, "plain")
    await add_replica(state, plain, "r9", host_id="h1")
    (assigned,) = [it for it in (await assignments(state).of_host("h1")).replicas if it.run_name == "plain"]
    assert "HOME" not in assigned.env


async def test_a_named_volume_goes_by_its_name(state: State) -> None:
    await add_host(state)
    await add_replica(state, await add_run(state, volumes=["models:/m"]), "r1", host_id="h1")
    (assigned,) = (await assignments(state).of_host("h1")).replicas
    assert [(v.source, v.target) for v in assigned.volumes] == [("models", "/m")]


async def test_secrets_go_only_to_the_host_that_runs_the_replica(state: State) -> None:
    for host_id in ("h1", "h2"):
        await add_host(state, host_id)
    mine = await add_run(state, "mine", env=["KEY=secret-of-mine"])
    yours = await add_run(state, "yours", env=["KEY=secret-of-yours"])
    await add_replica(state, mine, "r1", host_id="h1")
    await add_replica(state, yours, "r2", host_id="h2")
    first, second = [await assignments(state).of_host(host_id) for host_id in ("h1", "h2")]
    assert b"secret-of-mine" in first.SerializeToString()
    assert b"secret-of-yours" not in first.SerializeToString()
    assert b"secret-of-mine" not in second.SerializeToString()


async def test_a_draining_replica_still_runs_and_a_stopping_one_has_its_own_grace(state: State) -> None:
    await add_host(state)
    run_id = await add_run(state, stop_duration="2m")
    await add_replica(state, run_id, "r1", host_id="h1", wanted=Wanted.DRAIN)
    (assigned,) = (await assignments(state).of_host("h1")).replicas
    assert (assigned.wanted, assigned.stop_grace_s) == (agent_pb2.WANTED_STATE_RUN, 120.0)
    async with state.database.write() as write:
        await replicas.update(write, "r1", wanted=Wanted.STOP, stop_grace_s=0.0)
    (assigned,) = (await assignments(state).of_host("h1")).replicas
    assert (assigned.wanted, assigned.stop_grace_s) == (agent_pb2.WANTED_STATE_STOP, 0.0)


async def test_what_has_ended_is_not_on_the_list(state: State) -> None:
    await add_host(state)
    await add_replica(state, await add_run(state), "r1", host_id="h1")
    async with state.database.write() as write:
        await replicas.end(write, "r1", 2000.0)
    assert list((await assignments(state).of_host("h1")).replicas) == []


async def test_equal_states_give_equal_messages(state: State) -> None:
    await add_host(state)
    run_id = await add_run(state, env=["A=1", "B=2", "C=3"])
    for index in range(3):
        await add_replica(state, run_id, f"r{index}", index=index, host_id="h1")
    assert await assignments(state).of_host("h1") == await assignments(state).of_host("h1")


async def test_only_the_gateways_host_is_told_to_run_it(state: State) -> None:
    await add_host(state, "h1", gateway="local")
    await add_gateway(state, "main", "h1", listen_address="::1", http_port=80, https_port=443)
    await add_host(state, "h2")
    first, second = [await assignments(state).of_host(host_id) for host_id in ("h1", "h2")]
    local = agent_pb2.GatewayRole(name="local", xds_port=7001, listen_address="127.0.0.1", http_port=7480)
    main = agent_pb2.GatewayRole(name="main", xds_port=7001, listen_address="::1", http_port=80, https_port=443)
    assert list(first.gateways) == [local, main]
    assert first.gateway == local, "for an agent that knows no more than one"
    assert not second.gateways
    assert not second.HasField("gateway")


async def test_doors_open_to_gateways_elsewhere_and_these_are_told_whom_to_dial(state: State) -> None:
    await add_host(state, "gate", gateway="local")
    await add_host(state, "far")
    async with state.database.write() as write:
        await doors.put(write, {"far": Door("10.0.0.5", (40001, 40002))})
    gate, far = [await assignments(state).of_host(it) for it in ("gate", "far")]
    assert not gate.HasField("door"), "no gateway stands elsewhere"
    assert list(far.door.gateway_host_ids) == ["gate"]
    assert list(gate.reach) == [agent_pb2.Reach(host_id="far", address="10.0.0.5", port=40001)]
    assert not far.reach


async def test_a_host_that_cannot_be_dialled_is_told_to_dial_and_the_gateways_host_whom_to_expect(state: State) -> None:
    await add_host(state, "gate", gateway="local")
    await add_host(state, "far")
    door = Door("10.0.0.5", (40001, 40002), errors=(("gate", "no route"), ("gone", "no route")))
    async with state.database.write() as write:
        await doors.put(write, {"far": door})
        await hosts.update(write, "gate", {"address": "10.0.0.1"})
    gate, far = [await assignments(state).of_host(it) for it in ("gate", "far")]
    [tunnel] = far.door.tunnels
    assert (tunnel.gateway_host_id, tunnel.address, tunnel.port) == ("gate", "10.0.0.1", 7403)
    assert (gate.edge.port, gate.edge.mark) == (7403, tunnel.mark)
    assert [(it.host_id, list(it.ports)) for it in gate.edge.hosts] == [("far", [40001, 40002])]
    async with state.database.write() as write:
        await hosts.update(write, "gate", {"address": "127.0.0.1"})
    [tunnel] = (await assignments(state).of_host("far")).door.tunnels
    assert tunnel.address == "", "the server's own machine is where the host finds the server"


async def test_a_machine_that_runs_gateways_only_has_no_door(state: State) -> None:
    await add_host(state, "gate", gateway="local")
    async with state.database.write() as write:
        await hosts.insert(write, replace(a_host("edge"), fleet=GATEWAYS_FLEET))
    await add_gateway(state, "main", "edge")
    edge = await assignments(state).of_host("edge")
    assert ([it.name for it in edge.gateways], edge.HasField("door")) == (["main"], False)


async def test_a_lost_sealing_key_is_told_in_words(state: State) -> None:
    await add_host(state)
    await add_replica(state, await add_run(state), "r1", host_id="h1")
    async with opened(state.directory) as other:
        foreign = Assignments(other.database, Sealer.load_or_create(state.directory / "new.key"), SETTINGS)
        with pytest.raises(NotReady, match=r"put back the secret\.key"):
            await foreign.of_host("h1")


async def test_a_container_finds_who_it_is(state: State) -> None:
    await add_host(state)
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1", index=2, host_id="h1")
    replica = replace(part_of(await get_replica(state, "r1")), gpu_uuids=("GPU-1", "GPU-2"))
    found = run_environment(await get_run(state, run_id), replica, "h1")
    assert found["HOMEPORT_REPLICA"] == "2"
    assert found["HOMEPORT_HOST"] == "h1"
    assert found["HOMEPORT_GPUS_NUM"] == found["DSTACK_GPUS_NUM"] == "2"
    assert found["DSTACK_RUN_NAME"] == "hello"


@pytest.mark.parametrize(
    ("fields", "code_id", "expected"),
    [
        ({"commands": ["a"]}, "c" * 64, "/workflow"),
        ({"commands": ["a"]}, "", ""),
        ({}, "c" * 64, ""),
        ({"working_dir": "/srv", "commands": ["a"]}, "c" * 64, "/srv"),
        ({"working_dir": "src/app"}, "", "/workflow/src/app"),
        ({"working_dir": "./src/"}, "c" * 64, "/workflow/src"),
    ],
)
def test_commands_start_in_the_code_and_an_images_own_command_where_the_image_says(
    fields: dict[str, Any], code_id: str, expected: str
) -> None:
    spec = parse(service(**fields)).spec
    assert isinstance(spec, ServiceSpec)
    assert working_dir(spec, Revision("run", 1, "", 1.0, code_id=code_id)) == expected


@pytest.mark.parametrize(("uuids", "visible"), [(("GPU-1", "GPU-2"), "GPU-1,GPU-2"), ((), "void")])
async def test_a_container_is_told_its_gpus_by_uuid_and_nothing_may_say_otherwise(
    state: State, uuids: tuple[str, ...], visible: str
) -> None:
    await add_host(state)
    run_id = await add_run(state, env=["NVIDIA_VISIBLE_DEVICES=all", "HOMEPORT_GPUS=GPU-9"])
    await add_replica(state, run_id, "r1", host_id="h1")
    async with state.database.write() as write:
        await replicas.update(write, "r1", gpu_uuids=uuids)
    (assigned,) = (await assignments(state).of_host("h1")).replicas
    assert list(assigned.gpu_uuids) == list(uuids)
    assert (assigned.env["NVIDIA_VISIBLE_DEVICES"], assigned.env["HOMEPORT_GPUS"]) == (visible, ",".join(uuids))
    assert (assigned.gpus_shared, assigned.gpu_memory_mib) == (False, 0)


async def test_a_shared_one_is_told_how_much_of_its_gpu_is_its(state: State) -> None:
    await add_host(state)
    run_id = await add_run(state, resources={"gpu": {"memory": "24GB", "shared": True}})
    await add_replica(state, run_id, "r1", host_id="h1")
    async with state.database.write() as write:
        await replicas.update(write, "r1", gpu_uuids=("GPU-1",))
    (assigned,) = (await assignments(state).of_host("h1")).replicas
    assert (assigned.gpus_shared, assigned.gpu_memory_mib) == (True, 24576)


async def test_what_it_is_made_of_is_equal_until_something_of_it_changes(state: State) -> None:
    """A session looks often, and makes the list anew only then."""
    await add_host(state)
    await add_replica(state, await add_run(state), "r1", host_id="h1")
    made = assignments(state)
    before = await made.look("h1")
    async with state.database.write() as write:
        await replicas.update(write, "r1", in_rotation=True, message="of no account to its host")
        await hosts.update(write, "h1", {"facts": replace(FACTS, cpus=3)})
    assert await made.look("h1") == before
    async with state.database.write() as write:
        await replicas.update(write, "r1", wanted=Wanted.STOP, stop_grace_s=5.0)
    assert await made.look("h1") != before
