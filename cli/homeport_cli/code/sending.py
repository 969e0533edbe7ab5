"""Code on its way to the server: what is known there already, a row for the plan, and the rest with its progress.

Covers talking to the server and to the user about it. Does not cover which files these are (`bundle`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from homeport_cli.code import upload
from homeport_cli.code.bundle import Bundle
from homeport_cli.code.words import counted, listed, shown
from homeport_cli.errors import CliError, UsageError
from homeport_cli.render import size

if TYPE_CHECKING:
    from homeport_cli.client import Api
    from homeport_cli.context import Terminal

PROGRESS_FROM_BYTES = 1_000_000  # less is over before a bar can be read
LEAST_DEADLINE_S = 120.0
SLOWEST_BYTES_PER_S = 50_000.0  # a link below that is given up on


@dataclass(frozen=True, slots=True)
class Checked:
    """Code whose manifest the server has."""

    bundle: Bundle
    code_id: str
    missing: tuple[str, ...]  # sha256 of the contents that it lacks

    @property
    def missing_bytes(self) -> int:
        return upload.missing_bytes(self.bundle, self.missing)


def check(api: "Api", bundle: Bundle) -> Checked:
    """Raises CliError; UsageError when the server refuses the code."""
    answer = api.check_code(bundle.manifest)
    if answer.problems:
        problems = [shown(problem) for problem in answer.problems]
        raise UsageError(f"the server does not take the code of {shown(bundle.root)}:", listed(problems))
    if strange := set(answer.missing_sha256) - set(bundle.sources):
        raise CliError(
            f"the server asks for {counted(len(strange), 'content')} that this code has not; is it a newer version?"
        )
    return Checked(bundle, answer.code_id, tuple(answer.missing_sha256))


def row(checked: Checked) -> str:
    """ "12 files, 1MB from /path (3 files, 4kB to upload)"."""
    bundle = checked.bundle
    what = f"{counted(bundle.file_count, 'file')}, {size(bundle.total_bytes)} from {shown(bundle.root)}"
    return f"{what} ({_todo(checked)} to upload)" if checked.missing else f"{what} (nothing to upload)"


def send(api: "Api", terminal: "Terminal", checked: Checked) -> None:
    """Upload what is missing; nothing when nothing is. Raises CliError."""
    if not checked.missing:
        return
    total = checked.missing_bytes
    deadline_s = LEAST_DEADLINE_S + total / SLOWEST_BYTES_PER_S
    if total <= PROGRESS_FROM_BYTES or not terminal.err.is_terminal:
        terminal.say(f"Uploading {_todo(checked)}")
        api.upload_code(upload.messages(checked.bundle, checked.code_id, checked.missing), deadline_s)
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=terminal.err, transient=True) as progress:
        task = progress.add_task("Uploading code", total=total)
        pieces = upload.messages(
            checked.bundle, checked.code_id, checked.missing, lambda count: progress.update(task, advance=count)
        )
        api.upload_code(pieces, deadline_s)
    terminal.say(f"Uploaded {_todo(checked)}")


def _todo(checked: Checked) -> str:
    return f"{counted(len(checked.missing), 'file')}, {size(checked.missing_bytes)}"
