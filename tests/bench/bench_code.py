"""A second `apply` of a 100 MB work tree with one small file changed: what of it goes over the wire, and how long it takes.

`python tests/bench/bench_code.py [MB]` prints a table. A real server; between it and the command line stands a relay that
counts every byte of the connection, so that the manifest, TLS and gRPC are counted too. Bar (issue 3): less than 1 % of the tree.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig.stack import Stack, stack

SERVICE = (
    "type: service\nname: bench-code\nimage: homeport-test/hello:1\ncommands: [exec python3 /hello.py]\nport: 8000\n"
)
FILES = 500
CONNECT_S = 10.0


class Relay:
    """Forwards each connection to the server, and counts what the command line sends."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.sent_bytes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.create_connection(self._target, timeout=CONNECT_S)
            far.settimeout(None)
            threading.Thread(target=self._copy, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near, False), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        try:
            while data := source.recv(1 << 18):
                if counts:
                    self.sent_bytes += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # an end that went away: the other sees it by the shutdown of its own


def work_tree(folder: Path, total_bytes: int) -> Path:
    """A repository of FILES files; the last of them is small, and the one that changes."""
    folder.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    for number in range(FILES):
        place = folder / f"d{number % 20}"
        place.mkdir(exist_ok=True)
        (place / f"{number}.bin").write_bytes(os.urandom(total_bytes // FILES))
    (folder / "app.py").write_text("print(1)\n")
    (folder / "bench.homeport.yml").write_text(SERVICE)
    return folder


def apply(homeport: Stack, relay: Relay, folder: Path) -> tuple[int, float, str]:
    """(bytes that the command line sent, seconds, its row about the code)."""
    before, began_s = relay.sent_bytes, time.monotonic()
    done = homeport.homeport(
        "apply", "-y", "-d", "-f", str(folder / "bench.homeport.yml"),
        env={"HOMEPORT_SERVER": f"127.0.0.1:{relay.port}"},
        timeout_s=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    took_s = time.monotonic() - began_s
    row = next((line for line in done.stderr.splitlines() if line.startswith("Code")), "")
    return relay.sent_bytes - before, took_s, row


def main() -> None:
    tree_bytes = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 100_000_000
    with stack() as homeport:
        relay = Relay(homeport.api_port)
        folder = work_tree(homeport.documents / "tree", tree_bytes)
        first, first_s, row = apply(homeport, relay, folder)
        print(row)
        assert first > tree_bytes, "the relay did not see the upload"
        again, again_s, row = apply(homeport, relay, folder)
        (folder / "app.py").write_text("print(2)\n")
        second, second_s, row = apply(homeport, relay, folder)
        print(row)
        homeport.homeport("stop", "bench-code", "-x", "-y")
    print(
        f"{'apply of ' + format(tree_bytes / 1e6, '.0f') + ' MB in ' + str(FILES) + ' files':44} {'sent':>12} {'time':>8} {'of it':>8} {'bar':>6}"
    )
    print(f"{'first':44} {first:12} {first_s:6.2f} s {first / tree_bytes:8.2%}")
    print(f"{'again, nothing changed':44} {again:12} {again_s:6.2f} s {again / tree_bytes:8.2%}")
    print(f"{'again, one small file changed':44} {second:12} {second_s:6.2f} s {second / tree_bytes:8.2%} {'< 1%':>6}")


if __name__ == "__main__":
    main()
