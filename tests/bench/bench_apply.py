"""apply to the first 200 through the gateway, against `docker run` to the first 200 of the same image; the agent's memory.

`python tests/bench/bench_apply.py [ROUNDS]` prints a table. Both ways are timed in turn, in one run, from the start of
the command that a user types to the first answered request; the ratio is what counts, these machines are noisy.
Bars (DESIGN section 9): at most 1.5 times `docker run`, at most 64 MB of the agent.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil
from rig.ports import free_ports
from rig.stack import Stack, stack
from rig.traffic import get

IMAGE = "homeport-test/hello:1"
DOCKER = "/usr/bin/docker"
DEADLINE_S = 60.0
# A tighter loop takes one of two cores from what is measured, and only on our side: Envoy answers each time.
POLL_S = 0.01
SERVICE = "type: service\nname: {name}\nimage: " + IMAGE + "\nport: 8000\nstop_duration: 1s\n"


def first_200(port: int, host: str, token: str) -> float:
    """When (monotonic seconds) the first request was answered with 200."""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        try:
            if get(port, host, token=token, timeout_s=2)[0] == 200:
                return time.monotonic()
        except OSError:
            pass
        time.sleep(POLL_S)
    raise TimeoutError(f"no 200 from {host} within {DEADLINE_S:g} s")


def by_docker() -> float:
    (port,) = free_ports(1)
    began_s = time.monotonic()
    command = [DOCKER, "run", "-d", "-p", f"127.0.0.1:{port}:8000", "-l", "homeport.bench=1", IMAGE]
    container = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
    took_s = first_200(port, "bench", "") - began_s
    subprocess.run([DOCKER, "rm", "-f", container], check=True, capture_output=True, timeout=60)
    return took_s


def by_homeport(homeport: Stack, name: str) -> tuple[float, float]:
    """(from the command's start, from the moment that the API had committed it)."""
    file = homeport.documents / f"{name}.homeport.yml"
    file.write_text(SERVICE.format(name=name))
    began_s = time.monotonic()
    done = homeport.homeport("apply", "-y", "-d", "-f", str(file))
    assert done.returncode == 0, done.stderr
    committed_s = time.monotonic()
    ended_s = first_200(homeport.gateway_port, name, homeport.token)
    homeport.homeport("stop", name, "-x", "-y")
    return ended_s - began_s, max(0.0, ended_s - committed_s)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with stack() as homeport:
        by_homeport(homeport, "warm-up")
        by_docker()
        pairs = [(by_docker(), *by_homeport(homeport, f"bench-{number}")) for number in range(rounds)]
        rss_mib = psutil.Process(homeport.agent.pid).memory_info().rss / 2**20
        server_mib = psutil.Process(homeport.server.pid).memory_info().rss / 2**20
    docker_s, apply_s, after_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(apply / docker for docker, apply, _ in pairs)
    print(f"{'what':52} {'measured':>10} {'bar':>8}")
    print(f"{'docker run -> first 200, median of ' + str(rounds):52} {docker_s * 1000:7.0f} ms")
    print(f"{'homeport apply -d -> first 200':52} {apply_s * 1000:7.0f} ms")
    print(f"{'  of it after the command had returned':52} {after_s * 1000:7.0f} ms")
    print(f"{'ratio apply / docker run, median of pairs':52} {ratio:9.2f}x {'1.50x':>8}")
    print(f"{'agent, resident memory':52} {rss_mib:6.1f} MiB {'61.0 MiB':>8}")
    print(f"{'server, resident memory':52} {server_mib:6.1f} MiB")


if __name__ == "__main__":
    main()
