"""What is promised when something happens to a host: another one serves, and the replicas that were there start elsewhere.

The service has three replicas, one a host: two hosts are dialled by the gateway, the third is behind a tunnel. "Its start" of a
replica is 3 s here; requests are 57 a second, a third of them to the host that is struck.
"""

from faults.words import Absent, Fault, Promise, Struck

OUT = "out of rotation"
REPLACED = "replaced, with 3 s for the start"
BACK = "it is connected again"
STOPPED = "of what was replaced nothing runs there any more"
AGAIN = "its replica serves again"
OUT_S, REPLACED_S = 2.0, 18.0
_AWAY = {OUT: OUT_S, REPLACED: REPLACED_S}
_ONCE = "a replica runs twice or is called twice after its host is back"
_SILENT = (
    "What is under way to a silent host is sent again after a minute where it may be sent twice, and cut otherwise"
)
_NOTHING = "a container ends or is replaced"


def _cut(key: str, fault: Fault, variant: str = "", back_s: float = 75.0) -> Promise:
    """Off the network for half a minute, in silence."""
    return Promise(
        key, Struck.HOST, fault, variant, may_fail=40, may_break=40, failing_s=3.0,
        times_s={**_AWAY, BACK: back_s, STOPPED: back_s + 15}, never=f"a GET fails; {_ONCE}", note=_SILENT, least=1000,
    )  # fmt: skip


def _jump(key: str, variant: str) -> Promise:
    """What fails is what the kill of its Envoy breaks, not what the jump does."""
    return Promise(
        key, Struck.HOST, Fault.CLOCK, variant, may_fail=4, may_break=20, failing_s=15.0, times_s={BACK: 15.0},
        never=f"a GET fails; {_NOTHING}",
        note="10 s later its agent is restarted and its Envoy killed, so that both begin in it",
    )  # fmt: skip


PROMISES: tuple[Promise, ...] = (
    Promise(
        "host-door-kill", Struck.HOST, Fault.KILL, "of its Envoy, which the gateway dials",
        may_fail=4, may_break=20, failing_s=1.0, times_s={AGAIN: 5.0}, never=f"a GET fails; {_NOTHING}",
    ),
    Promise(
        "host-door-kill-tunnel", Struck.HOST, Fault.KILL, "of its Envoy, which holds its tunnel",
        may_fail=4, may_break=20, failing_s=1.0, times_s={AGAIN: 10.0}, never=f"a GET fails; {_NOTHING}",
    ),
    Promise(
        "host-reboot", Struck.HOST, Fault.RESTART, "shut down, started a moment later",
        may_fail=4, may_break=40, failing_s=15.0, times_s={BACK: 90.0, STOPPED: 120.0}, never=f"a GET fails; {_ONCE}",
    ),
    Promise(
        "host-power", Struck.HOST, Fault.POWER, "and on again after 20 s", may_fail=40, may_break=40, failing_s=3.0,
        times_s={**_AWAY, BACK: 60.0, STOPPED: 75.0}, never=f"a GET fails; {_ONCE}", note=_SILENT, least=1000,
    ),
    _cut("host-cable", Fault.CABLE, "for 30 s"),
    _cut("host-drop", Fault.DROP, "for 30 s"),
    _cut("host-drop-to", Fault.DROP_ONE_WAY, "of what is sent to it, 30 s"),
    _cut("host-drop-from", Fault.DROP_ONE_WAY, "of what it sends, 30 s"),
    Promise(
        "host-slow", Struck.HOST, Fault.SLOW, "512 kbit/s for 30 s", may_break=0, silent_s=2.0, never="a replica is replaced",
        note="What goes to it is slow; more of it goes elsewhere", least=800,
    ),
    _jump("host-clock-ahead", "an hour ahead"),
    _jump("host-clock-back", "an hour back"),
    Promise("host-disk-docker", Struck.HOST, Fault.DISK, "Docker's", never=_NOTHING, least=800),
    Promise("host-disk-state", Struck.HOST, Fault.DISK, "of the agent's state", never=_NOTHING, least=800),
    Promise(
        "host-engine-restart", Struck.HOST, Fault.ENGINE_RESTART,
        may_fail=4, may_break=40, failing_s=5.0, times_s={AGAIN: 30.0},
        never="a GET fails; a replica runs twice", note="Docker ends its containers with it, unless `live-restore` is set",
    ),
    Promise("host-engine-hang", Struck.HOST, Fault.ENGINE_HANG, "for 30 s", never=_NOTHING, least=1500),
    Promise(
        "host-engine-hang-agent", Struck.HOST, Fault.ENGINE_HANG, "for 30 s, and its agent is started anew meanwhile",
        never=_NOTHING, least=1500, note="The agent believes its journal, by its probes",
    ),
    Promise(
        "host-certificate", Struck.HOST, Fault.CERTIFICATE, "while its agent was away for 15 s",
        may_fail=4, may_break=20, failing_s=30.0, times_s={REPLACED: REPLACED_S, BACK: 15.0, STOPPED: 60.0},
        never=f"a GET fails; {_ONCE}",
        note="The agent asks for a new one with the old one's key, up to 30 days after its end. Its replicas were replaced as "
        "with any host whose agent is away for longer than `lost_after` (10 s)",
    ),
)  # fmt: skip
ABSENT: tuple[Absent, ...] = (
    Absent(
        Struck.HOST, (Fault.STOP,), "a machine that stands still answers nothing: the same as a silent drop, both ways"
    ),
    Absent(
        Struck.HOST,
        (Fault.MEMORY,),
        "the kernel ends one of its processes: see kill -9 of agent, replica and its Envoy",
    ),
    Absent(Struck.HOST, (Fault.LOCKED, Fault.AWAY), "it has no database"),
)
