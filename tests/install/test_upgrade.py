"""install.sh once more from a later checkout, and back by the commands of docs/operations.md: no request fails.

One machine with systemd that quickstart has installed; what is called is its hello service, from inside.
"""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from homeport_control.store.before_migration import revisions
from rig.later import MIGRATION, MIGRATIONS, SCHEMA, VERSION
from rig.machine import ROOT, SOURCE, Machine, machine

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.nightly]

INSTALL_S = 400.0
# Counts answers until /run/enough is there; the call is its arguments.
CALLS = r"""n=0 bad=0
while [ ! -e /run/enough ]; do
    code=$("$@" -s -o /dev/null -m 10 -w '%{http_code}')
    n=$((n + 1)); [ "$code" = 200 ] || { bad=$((bad + 1)); echo "$(date +%T) $code"; }
done
echo "$n calls, $bad failed"
"""


def quickstart(on: Machine) -> str:
    done = on.run("sh", f"{SOURCE}/install.sh", "quickstart", check=False, timeout_s=INSTALL_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def calling(on: Machine, command: list[str]) -> Iterator[None]:
    on.shell("rm -f /run/enough")
    caller = on.start("sh", "-c", CALLS, "sh", *command, stdin=subprocess.DEVNULL)
    yield
    on.shell("touch /run/enough")
    said, _ = caller.communicate(timeout=60)
    print(said)
    assert re.search(r"^\d{2,} calls, 0 failed$", said, re.MULTILINE), said


def hello(on: Machine) -> str:
    """Its container and since when it runs."""
    container = on.shell("docker ps -q --no-trunc --filter label=homeport.run=hello").strip()
    return on.shell(f"docker inspect -f '{{{{.Id}}}} {{{{.State.StartedAt}}}}' {container}")


def documented(on: Machine) -> str:
    """The block of commands that goes back, as it stands in docs/operations.md."""
    page = (ROOT / "docs" / "operations.md").read_text()
    [block] = [it for it in re.findall(r"(?:^ {4}.*\n)+", page, re.MULTILINE) if "homeport.db.before-REVISION" in it]
    return block.replace("REVISION", SCHEMA).replace("git checkout OLDER && ./install.sh quickstart", "")


def test_quickstart_again_upgrades_and_the_documented_way_goes_back() -> None:
    with machine("install-up", 203, "systemd") as on:
        [line] = [it.strip() for it in quickstart(on).splitlines() if it.startswith("  curl ")]
        began = hello(on)
        source = on.root / SOURCE.lstrip("/")
        changed = source / "controlplane/homeport_control/__init__.py"
        before, migration = changed.read_text(), source / MIGRATIONS / "later.py"
        with calling(on, shlex.split(line)):
            changed.write_text(f'{before}\n__version__ = "{VERSION}"\n')
            migration.write_text(MIGRATION.format(schema=SCHEMA, before=revisions()[-1]))
            assert re.search(r"^server +restarted$", quickstart(on), re.MULTILINE)
            told = on.shell("homeport event --kind server")
            assert f"from schema {revisions()[-1]} to {SCHEMA}; as it was before it is kept in" in told
            assert f"the server {VERSION} has started" in told
            assert hello(on) == began

            changed.write_text(before)
            migration.unlink()
            refused = on.run("sh", f"{SOURCE}/install.sh", "quickstart", check=False, timeout_s=INSTALL_S)
            assert refused.returncode != 0
            assert f"written by Homeport {VERSION}" in refused.stderr, refused.stdout + refused.stderr
            on.shell(f"set -e\n{documented(on)}")
            quickstart(on)
            assert SCHEMA not in on.shell("homeport event --kind server")
            hosts = json.loads(on.shell("homeport fleet list --json"))["hosts"]
            assert [it["connection"] for it in hosts] == ["connected"]
            assert hello(on) == began
