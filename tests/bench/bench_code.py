"""What a second `apply` of a large tree sends, when one small file has changed; counted on the wire, by a proxy in between.

  python tests/bench/bench_code.py [MEGABYTES]

Prints a table: the bytes that the command sent to the server (manifest, TLS and all), and how long it took until the replica
was in rotation. It asserts nothing.
"""

import os
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig.stack import Stack, stack

TEXT = """
type: service
name: tree
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
"""
FILE_BYTES = 1_000_000
BAR = 0.01


class CountingProxy:
    """Forwards TCP to a port and counts what clients send."""

    def __init__(self, port: int) -> None:
        self.sent_bytes = 0
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(self._target)
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if counted:
                    self.sent_bytes += len(data)
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def apply(homeport: Stack, proxy: CountingProxy, file: Path) -> tuple[int, float]:
    before, started_s = proxy.sent_bytes, time.monotonic()
    done = homeport.homeport(
        "apply", "-y", "-f", str(file), env={"HOMEPORT_SERVER": f"127.0.0.1:{proxy.port}"}, timeout_s=300
    )
    if done.returncode != 0:
        sys.exit(done.stderr)
    return proxy.sent_bytes - before, time.monotonic() - started_s


def main() -> None:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with stack() as homeport:
        tree = homeport.documents
        for number in range(files):
            (tree / f"{number}.bin").write_bytes(os.urandom(FILE_BYTES))
        (tree / "app.py").write_text("print(1)\n")
        file = tree / "tree.homeport.yml"
        file.write_text(TEXT)
        proxy = CountingProxy(homeport.api_port)
        rows = [("first apply", *apply(homeport, proxy, file))]
        (tree / "app.py").write_text("print(2)\n")
        rows.append(("one small file changed", *apply(homeport, proxy, file)))
        rows.append(("nothing changed", *apply(homeport, proxy, file)))
    total = files * FILE_BYTES
    print(f"a tree of {files} files, {total / 1e6:.0f} MB\n")
    print(f"{'what':24} {'sent':>12} {'of the tree':>12} {'until it serves':>16}")
    for what, sent, took_s in rows:
        print(f"{what:24} {sent / 1e6:9.3f} MB {sent / total:11.3%} {took_s:14.1f} s")
    print(
        f"\nbar: a second apply sends less than {BAR:.0%} of the tree: {'kept' if rows[1][1] < BAR * total else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
