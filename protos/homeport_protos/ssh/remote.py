"""What is done on one machine: may we be root there, the install script, its words as steps, and what came of it.

The script and its exit code decide; nothing of what it says is needed but the id of the host that it made.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

import asyncssh

from homeport_protos.common.v1 import host_pb2
from homeport_protos.ssh.facts import facts_of
from homeport_protos.ssh.reach import CannotReach

COMMAND_S = 30.0
INSTALL_S = 900.0
_JOINED = re.compile(r"^join\b.*: host ([0-9a-f]{32}),", re.MULTILINE)
_FAILED = re.compile(r"^(\S+) +FAILED: (.*)$")
Step = Callable[[str], None]


class InstallFailed(CannotReach):
    """One line."""


class WantsPassword(Exception):
    """sudo wants one."""


@dataclass(frozen=True, slots=True)
class Root:
    """How a command becomes root's: a prefix, and a line for its standard input."""

    prefix: str = ""
    password: str = ""

    @property
    def first_line(self) -> str:
        return f"{self.password}\n" if self.password else ""


async def become_root(ssh: asyncssh.SSHClientConnection, password: str = "") -> Root:
    """Raises WantsPassword, InstallFailed."""
    if (await _run(ssh, "id -u")).strip() == "0":
        return Root()
    if await _code(ssh, "command -v sudo") != 0:
        raise InstallFailed("the user is not root and there is no sudo; use another user")
    if await _code(ssh, "sudo -n true") == 0:
        return Root("sudo -n ")
    if not password:
        raise WantsPassword
    if await _code(ssh, "sudo -S -p '' true", f"{password}\n") != 0:
        raise InstallFailed("sudo does not take that password for the user, or does not let it be root")
    return Root("sudo -S -p '' ", password)


async def install(
    ssh: asyncssh.SSHClientConnection, root: Root, script: str, arguments: str, token: str, step: Step
) -> str:
    """Run the install script there; the id of the host. Raises InstallFailed."""
    # By standard input: arguments can be read by every user of the machine.
    said = await _run_script(ssh, root, script, f"--join - {arguments}", f"{token}\n", step)
    joined = _JOINED.search(said)
    if joined is None:
        raise InstallFailed("the install script did not say which host it made; apply again")
    return joined[1]


async def survey(
    ssh: asyncssh.SSHClientConnection, root: Root, script: str, arguments: str, step: Step
) -> host_pb2.HostFacts:
    """Whether the machine could be a host, and what it has; nothing is changed there. Raises InstallFailed."""
    return facts_of(await _run_script(ssh, root, script, f"--survey {arguments}", "", step))


async def release(ssh: asyncssh.SSHClientConnection, root: Root, *, power_off: bool) -> None:
    """Its agent and Envoys end and do not come back by themselves; what is installed stays. Raises InstallFailed."""
    script = "/opt/homeport/install.sh"  # not there: its owner took all of it away already
    await _run(ssh, f"{root.prefix}sh -c 'test ! -e {script} || sh {script} --release'", root.first_line)
    if power_off:
        await _run(ssh, f"{root.prefix}systemctl --no-block poweroff", root.first_line)


async def uninstall(ssh: asyncssh.SSHClientConnection, root: Root) -> None:
    """Raises InstallFailed."""
    await _run(ssh, f"{root.prefix}sh /opt/homeport/install.sh --uninstall -y", root.first_line)


async def _run_script(
    ssh: asyncssh.SSHClientConnection, root: Root, script: str, arguments: str, text: str, step: Step
) -> str:
    """All that the install script said. Raises InstallFailed."""
    step("sending the install script")
    path = (await _run(ssh, 'f=$(mktemp /tmp/homeport-XXXXXXXX) && cat >"$f" && echo "$f"', script)).strip()
    try:
        async with asyncio.timeout(INSTALL_S):
            process = await ssh.create_process(f"{root.prefix}sh {path} {arguments}", encoding="utf-8")
            process.stdin.write(f"{root.first_line}{text}")
            process.stdin.write_eof()
            said, complaints = await asyncio.gather(_steps(process, step), process.stderr.read())
            code = (await process.wait()).exit_status
    except TimeoutError:
        raise InstallFailed(f"the install script did not end within {INSTALL_S:g} s; look at the machine") from None
    except (OSError, asyncssh.Error) as error:
        raise InstallFailed(f"the connection broke during the installation: {error}; apply again") from None
    finally:
        await _forget(ssh, path)
    if code != 0:
        raise InstallFailed(_reason(str(complaints), said, code))
    return said


async def _steps(process: "asyncssh.SSHClientProcess[str]", step: Step) -> str:
    lines: list[str] = []
    async for line in process.stdout:
        lines.append(line)
        words = " ".join(line.split())
        if words and not line.startswith(("fact ", "gpu ")):
            step(words)
    return "".join(lines)


def _reason(complaints: str, said: str, code: int | None) -> str:
    lines = [line for line in complaints.splitlines() if line.strip()]
    failed = [found for line in lines if (found := _FAILED.match(line))]
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return f"{failed[0][1]}: {failed[0][2]}{more}"
    last = (lines or said.splitlines() or [f"the install script ended with {code} and said nothing"])[-1]
    return last.removeprefix("install.sh: ")


async def _run(ssh: asyncssh.SSHClientConnection, command: str, text: str = "") -> str:
    try:
        async with asyncio.timeout(COMMAND_S):
            done = await ssh.run(command, input=text, check=True, encoding="utf-8")
    except asyncssh.ProcessError as error:
        said = str(error.stderr or error.stdout or "").strip().splitlines()
        raise InstallFailed(
            f"`{command.split('&&')[0].strip()}` failed there: {said[-1] if said else error.code}"
        ) from None
    except TimeoutError:
        raise InstallFailed(f"a command did not end within {COMMAND_S:g} s; look at the machine") from None
    except (OSError, asyncssh.Error) as error:
        raise InstallFailed(f"the connection broke: {error}; apply again") from None
    return str(done.stdout)


async def _code(ssh: asyncssh.SSHClientConnection, command: str, text: str = "") -> int | None:
    try:
        async with asyncio.timeout(COMMAND_S):
            return (await ssh.run(command, input=text)).exit_status
    except TimeoutError:
        raise InstallFailed(f"a command did not end within {COMMAND_S:g} s; look at the machine") from None
    except (OSError, asyncssh.Error) as error:
        raise InstallFailed(f"the connection broke: {error}; apply again") from None


async def _forget(ssh: asyncssh.SSHClientConnection, path: str) -> None:
    """The script lies in /tmp; that it stays after a broken connection does no harm."""
    try:
        await ssh.run(f"rm -f {path}", timeout=COMMAND_S)
    except (OSError, asyncssh.Error):
        return
