"""A real ACME authority for tests: Pebble from the distribution, with a DNS of its own that sends every name to loopback.

The DNS is its pebble-challtestsrv, which takes TXT records over HTTP; `hook` is a program that an owner could have written.
"""

import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from homeport_control.trust import gateway_ca
from rig.ports import free_port
from rig.stack import wait_for

HOOK = """#!/bin/sh
set -eu
echo "$*" >> '%(calls)s'
case $1 in
present) curl -fsS -d "{\\"host\\": \\"$2\\", \\"value\\": \\"$3\\"}" '%(url)s/set-txt' ;;
cleanup) curl -fsS -d "{\\"host\\": \\"$2\\"}" '%(url)s/clear-txt' ;;
esac
"""


@dataclass
class Pebble:
    folder: Path
    http_port: int  # where it looks for proofs
    port: int
    management_port: int
    dns_port: int
    records_port: int  # where the DNS takes TXT records
    blocked: tuple[str, ...] = ()  # domains for which it signs nothing
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def directory(self) -> str:
        return f"https://localhost:{self.port}/dir"

    @property
    def ca_file(self) -> Path:
        """Whom to trust when it is called: not what it signs."""
        return self.folder / "pebble-ca.pem"

    def start(self) -> None:
        """Anew: it keeps nothing."""
        config = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management_port}",
            "certificate": str(self.folder / "pebble.pem"),
            "privateKey": str(self.folder / "pebble.key"),
            "httpPort": self.http_port,
            "tlsPort": 1,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "domainBlocklist": list(self.blocked),
        }
        file = self.folder / "pebble.json"
        file.write_text(json.dumps({"pebble": config}))
        with (self.folder / "pebble.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["pebble", "-config", str(file), "-dnsserver", f"127.0.0.1:{self.dns_port}"],
                # Of a hundred good nonces it refuses thirty, which is none of an order's fault.
                env={"PATH": os.environ["PATH"], "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "30"},
                stdout=log,
                stderr=log,
            )
        wait_for("pebble listens", lambda: _listens(self.management_port))

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def hook(self, file: Path) -> Path:
        """Writes down each call in `file`.calls, and does it."""
        file.write_text(HOOK % {"calls": f"{file}.calls", "url": f"http://127.0.0.1:{self.records_port}"})
        file.chmod(0o755)
        return file

    def root(self) -> str:
        """PEM of what signs what it signs."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        url = f"https://localhost:{self.management_port}/roots/0"
        with urllib.request.urlopen(url, timeout=10, context=context) as answer:
            return str(answer.read().decode())


@contextmanager
def pebble(folder: Path, http_port: int) -> Iterator[Pebble]:
    if shutil.which("pebble") is None:
        pytest.skip("pebble is not here (apt-get install pebble)")
    made = Pebble(folder, http_port, free_port(), free_port(), free_port(), free_port())
    ca = gateway_ca.new_ca("pebble", time.time())
    own = gateway_ca.issue(ca, "localhost", time.time())
    made.ca_file.write_bytes(ca.certificate_pem)
    (folder / "pebble.pem").write_bytes(own.certificate_pem)
    (folder / "pebble.key").write_bytes(own.key_pem)
    flags = {"dns01": f"127.0.0.1:{made.dns_port}", "defaultIPv6": "", "http01": "", "https01": "", "tlsalpn01": ""}
    flags["management"] = f"127.0.0.1:{made.records_port}"
    names = subprocess.Popen(
        ["pebble-challtestsrv", *(f"-{name}={value}" for name, value in flags.items())],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for("its DNS listens", lambda: _listens(made.records_port))
        made.start()
        yield made
    finally:
        made.stop()
        names.kill()
        names.wait()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
