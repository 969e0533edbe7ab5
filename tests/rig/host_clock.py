"""The clock of a machine's agent and of its Envoy, moved; they are started anew to have it, and again at the end."""

from types import TracebackType

from rig.clock.clocks import Clock
from rig.machine import Machine
from rig.scene import ENVOYS

FOLDER = "opt/clock"
UNIT = "etc/systemd/system/homeport-agent.service.d"


class HostClock:
    """`with HostClock(machine) as clock: clock.jump(hours=1)`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def __enter__(self) -> Clock:
        folder, unit = self._machine.root / FOLDER, self._machine.root / UNIT
        folder.mkdir(parents=True)
        unit.mkdir(parents=True)
        clock = Clock(folder)
        lines = [
            f"Environment={name}=/{FOLDER}/{path.rpartition('/')[2]}" for name, path in clock.environment().items()
        ]
        (unit / "clock.conf").write_text("\n".join(["[Service]", *lines, ""]))
        self._start_anew()
        return clock

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._machine.shell(f"rm -r /{UNIT}")
        self._start_anew()
        self._machine.shell(f"rm -r /{FOLDER}")

    def _start_anew(self) -> None:
        # The supervisor first: its Envoy ends with it, and the agent that comes starts both with its own environment.
        self._machine.shell("systemctl daemon-reload; systemctl stop homeport-agent")
        self._machine.shell(f"kill -9 $(cut -d' ' -f1 {ENVOYS}/door/supervisor.pid)")
        self._machine.shell("systemctl start homeport-agent")
