"""`python -P -m homeport_agent.envoy stop --state-dir DIR`: end this host's Envoy and its supervisor (for uninstalling)."""

import argparse
import sys
from pathlib import Path

from homeport_agent.envoy import supervisor
from homeport_agent.envoy.host import RUN_FOLDER, envoy_dir


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -P -m homeport_agent.envoy", description=__doc__)
    parser.add_argument("command", choices=["stop", "status"])
    parser.add_argument("--state-dir", type=Path, required=True, help="the agent's state directory")
    options = parser.parse_args(arguments)
    run_dir = envoy_dir(options.state_dir) / RUN_FOLDER
    if options.command == "status":
        pid = supervisor.envoy_pid(run_dir)
        print(f"Envoy runs (pid {pid})" if pid else "Envoy does not run")
        return 0 if pid else 1
    print("Envoy is stopped" if supervisor.stop(run_dir) else "Envoy did not run")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
