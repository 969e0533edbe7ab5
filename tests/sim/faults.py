"""The faults of a simulated world, by name: each strikes once, at something drawn, and ends by itself or in `calm`.

To add one: a coroutine that takes the world, and its line in FAULTS. GENTLE are those that take no endpoint out of service:
in a world with only these, rollouts and drains must not lose one either (invariants.Floors).
"""

import asyncio
from collections.abc import Awaitable, Callable

from sim.machine import Machine
from sim.world import World

Fault = Callable[[World], Awaitable[None]]


def _one(world: World, *, up: bool = True) -> Machine | None:
    there = [it for it in world.machines.values() if it.is_up is up and not it.is_removed]
    return world.rng.choice(there) if there else None


def _later(world: World, after_s: float, what: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(after_s, what)


async def kill_server(world: World) -> None:
    """kill -9 before or after one of its next statements: between any two writes, and inside of any transaction."""
    world.kill_in = world.rng.randint(1, world.rng.choice((8, 60, 300)))


async def drop_link(world: World) -> None:
    """What a machine and the server say to one another does not arrive, and nobody is told."""
    machine, for_s = world.rng.choice(list(world.machines.values())), world.rng.choice((1.0, 3.0, 8.0, 14.0, 30.0))
    world.tell("fault", f"the link of {machine.name} is cut for {for_s:.0f} s")
    world.network.cut(machine.name)
    _later(world, for_s * world.rng.uniform(0.8, 1.2), lambda: world.network.heal(machine.name))


async def break_link(world: World) -> None:
    """All connections of a machine break; they can be made anew at once."""
    machine = world.rng.choice(list(world.machines.values()))
    world.tell("fault", f"the connections of {machine.name} break")
    world.network.reset(machine.name)


async def delay_report(world: World) -> None:
    machine, extra_s = world.rng.choice(list(world.machines.values())), world.rng.choice((0.1, 0.7, 2.5, 5.0))
    world.tell("fault", f"messages of {machine.name} take {extra_s} s longer")
    link = world.network.link(machine.name)
    link.extra_s = extra_s

    def ends() -> None:
        link.extra_s = 0.0

    _later(world, world.rng.uniform(1.0, 12.0), ends)


async def double_report(world: World) -> None:
    machine = world.rng.choice(list(world.machines.values()))
    world.network.link(machine.name).doubles = world.rng.randint(1, 6)


async def reboot_host(world: World) -> None:
    """Power is lost: what runs there ends and nobody is told; it comes back a while later."""
    machine = _one(world)
    if machine is None:
        return
    for_s = world.rng.choice((2.0, 5.0, 15.0, 40.0)) * world.rng.uniform(0.8, 1.2)
    world.tell("fault", f"{machine.name} loses power for {for_s:.1f} s")
    machine.power_off()

    def comes_back() -> None:
        world.tell("fault", f"{machine.name} has power again")
        machine.power_on()

    _later(world, for_s, comes_back)


async def restart_agent(world: World) -> None:
    """kill -9 of an agent; its containers go on."""
    machine = _one(world)
    if machine is None or machine.agent is None:
        return
    world.tell("fault", f"the agent of {machine.name} is killed")
    machine.kill_agent()

    def starts() -> None:
        if machine.is_up and machine.agent is None:
            world.tell("fault", f"the agent of {machine.name} starts")
            machine.start_agent()

    _later(world, world.rng.choice((0.1, 1.0, 5.0, 20.0)), starts)


async def lose_gpu(world: World) -> None:
    """It falls off the bus, and stays away."""
    machine = _one(world)
    there = [] if machine is None else [it for it in machine.uuids() if it not in machine.lost_gpus]
    if machine is not None and there:
        uuid = world.rng.choice(there)
        world.tell("fault", f"{uuid} falls off the bus")
        machine.lose_gpu(uuid)


async def hang_engine(world: World) -> None:
    """No call of its engine is answered for a while."""
    machine = _one(world)
    if machine is None or machine.engine.hangs is not None:
        return
    for_s = world.rng.choice((0.5, 3.0, 15.0))
    world.tell("fault", f"the engine of {machine.name} hangs for {for_s} s")
    engine = machine.engine
    gate = engine.hangs = asyncio.Event()

    def ends() -> None:
        gate.set()
        engine.hangs = None

    _later(world, for_s, ends)


async def stop_engine(world: World) -> None:
    """Its engine is not there for a while; containers go on."""
    machine = _one(world)
    if machine is None:
        return
    world.tell("fault", f"the engine of {machine.name} is away")
    machine.engine.go_down()
    _later(world, world.rng.choice((0.5, 3.0, 15.0)), machine.engine.come_back)


async def fail_pull(world: World) -> None:
    machine = _one(world)
    if machine is None:
        return
    engine = machine.engine
    engine.registry_is_down = True
    world.tell("fault", f"no registry is reached from {machine.name}")

    def ends() -> None:
        engine.registry_is_down = False

    _later(world, world.rng.uniform(1.0, 20.0), ends)


async def nack_snapshot(world: World) -> None:
    for envoy in world.envoys():
        envoy.refuses = world.rng.randint(1, 3)


async def crash_envoy(world: World) -> None:
    """Its supervisor starts it again; it holds nothing then."""
    for machine in world.machines.values():
        for name in list(machine.envoys):
            world.tell("fault", f"envoy {name} crashes")
            machine.crash_envoy(name)


async def skew_clock(world: World) -> None:
    """A clock jumps: of a machine, or of the server."""
    by_s = world.rng.choice((-3600.0, -20.0, -3.0, 3.0, 20.0, 3600.0))
    machine = world.rng.choice([None, *world.machines.values()])
    skew = world.server_skew if machine is None else machine.skew
    world.tell("fault", f"the clock of {'the server' if machine is None else machine.name} jumps by {by_s:.0f} s")
    skew.ahead_s += by_s
    world.is_skewed = True


async def end_container(world: World) -> None:
    """A replica's program ends by itself."""
    running = [
        (machine, name)
        for machine in world.machines.values()
        for name, it in machine.engine.containers.items()
        if it.shown.is_running and name.startswith("homeport-")
    ]
    if running:
        machine, name = world.rng.choice(running)
        world.tell("fault", f"{name} on {machine.name} ends")
        machine.engine.end(name, 1)


async def mute_container(world: World) -> None:
    """A replica's program answers nothing for a while."""
    running = [
        (machine, it.shown.ip)
        for machine in world.machines.values()
        for it in machine.engine.containers.values()
        if it.shown.is_running and it.shown.ip
    ]
    if running:
        machine, address = world.rng.choice(running)
        world.tell("fault", f"{address} on {machine.name} does not answer")
        machine.engine.mute.add(address)
        _later(world, world.rng.choice((1.0, 5.0, 30.0)), lambda: machine.engine.mute.discard(address))


FAULTS: dict[str, Fault] = {
    "KillServer": kill_server,
    "DropLink": drop_link,
    "BreakLink": break_link,
    "DelayReport": delay_report,
    "DoubleReport": double_report,
    "RebootHost": reboot_host,
    "RestartAgent": restart_agent,
    "LoseGpu": lose_gpu,
    "HangEngine": hang_engine,
    "StopEngine": stop_engine,
    "FailPull": fail_pull,
    "NackSnapshot": nack_snapshot,
    "CrashEnvoy": crash_envoy,
    "SkewClock": skew_clock,
    "EndContainer": end_container,
    "MuteContainer": mute_container,
}
GENTLE = (
    "KillServer", "DropLink", "BreakLink", "DelayReport", "DoubleReport", "RestartAgent", "HangEngine", "StopEngine",
    "FailPull", "NackSnapshot", "SkewClock",
)  # fmt: skip


async def strike(world: World, name: str) -> None:
    world.tell("fault", name)
    await FAULTS[name](world)


async def calm(world: World) -> None:
    """Everything that was broken is whole again."""
    world.kill_in = None
    for machine in world.machines.values():
        link = world.network.link(machine.name)
        link.extra_s, link.doubles = 0.0, 0
        if link.is_cut:
            world.network.heal(machine.name)
        if machine.engine.hangs is not None:
            machine.engine.hangs.set()
            machine.engine.hangs = None
        machine.engine.is_down = machine.engine.registry_is_down = False
        machine.engine.mute.clear()
        for envoy in machine.envoys.values():
            envoy.refuses = 0
    while world.server is None or any(  # noqa: ASYNC110 - they come back by the clock
        not it.is_up or it.agent is None for it in world.machines.values()
    ):
        await asyncio.sleep(0.2)
