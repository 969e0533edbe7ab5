"""What is promised when something happens to a gateway: what it knows it keeps, with nobody there to tell it."""

from faults.words import Absent, Fault, Promise, Struck

BACK = "it answers again"
KNOWN = "the server knows it again"
EDGE_BACK = "hosts behind tunnels serve again"
PROMISES: tuple[Promise, ...] = (
    Promise(
        "gateway-kill", Struck.GATEWAY, Fault.KILL, "of its Envoy", may_fail=200, may_break=20, failing_s=3.0, silent_s=5.0,
        times_s={BACK: 3.0}, note="All that is under way is cut; callers are refused until it listens again",
    ),
    Promise(
        "gateway-edge-kill", Struck.GATEWAY, Fault.KILL, "of its edge, where tunnels end",
        may_fail=4, may_break=20, failing_s=2.0, times_s={EDGE_BACK: 10.0}, never="a GET fails",
    ),
    Promise(
        "gateway-agent-kill", Struck.GATEWAY, Fault.KILL, "of its agent", times_s={KNOWN: 15.0}, never="its Envoy ends",
    ),
    Promise(
        "gateway-power", Struck.GATEWAY, Fault.POWER, "and on again after 5 s", may_fail=5000, may_break=100, failing_s=45.0,
        silent_s=45.0, times_s={BACK: 45.0, KNOWN: 60.0},
        note="One gateway is one machine: while it is off nobody answers, and it is back with its machine, by itself",
    ),
    Promise(
        "gateway-cable", Struck.GATEWAY, Fault.CABLE, "between it and the server, 30 s", times_s={KNOWN: 60.0},
        never="a route or a token is forgotten", least=1500,
    ),
    Promise(
        "gateway-away", Struck.GATEWAY, Fault.AWAY, "the server cannot be reached by anybody, 30 s", times_s={KNOWN: 60.0},
        never="a container ends", least=1500,
    ),
)  # fmt: skip
ABSENT: tuple[Absent, ...] = (
    Absent(Struck.GATEWAY, (Fault.RESTART,), "the same as kill -9 of its Envoy and power loss, but gentler"),
    Absent(Struck.GATEWAY, (Fault.STOP,), "callers wait for as long as it stands still: two gateways are what helps"),
    Absent(Struck.GATEWAY, (Fault.DROP, Fault.DROP_ONE_WAY), "to the server: see cable out; to a host: see the host"),
    Absent(Struck.GATEWAY, (Fault.SLOW,), "callers have what the link has"),
    Absent(Struck.GATEWAY, (Fault.CLOCK, Fault.DISK), "see those of a host: a gateway's machine is one"),
    Absent(Struck.GATEWAY, (Fault.MEMORY,), "the kernel ends its Envoy with SIGKILL: the same as kill -9"),
    Absent(Struck.GATEWAY, (Fault.ENGINE_RESTART, Fault.ENGINE_HANG), "it needs no Docker engine"),
    Absent(Struck.GATEWAY, (Fault.LOCKED,), "it has no database"),
    Absent(Struck.GATEWAY, (Fault.CERTIFICATE,), "of its names: tests/envoy/test_tls.py; of its host: see the host"),
)
