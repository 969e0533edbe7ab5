"""`python -P -m homeport_agent.envoy stop --state-dir DIR`: end this host's Envoys and their supervisors (for uninstalling)."""

import argparse
import sys
from pathlib import Path

from homeport_agent.envoy import supervisor
from homeport_agent.envoy.gateways import run_dirs, stop_all


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -P -m homeport_agent.envoy", description=__doc__)
    parser.add_argument("command", choices=["stop", "status"])
    parser.add_argument("--state-dir", type=Path, required=True, help="the agent's state directory")
    options = parser.parse_args(arguments)
    if options.command == "status":
        found = {folder.name: supervisor.envoy_pid(folder) for folder in run_dirs(options.state_dir)}
        running = [f"{name} (pid {pid})" for name, pid in found.items() if pid]
        print(f"Envoy runs: {', '.join(running)}" if running else "Envoy does not run")
        return 0 if running else 1
    print("Envoy is stopped" if stop_all(options.state_dir) else "Envoy did not run")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
