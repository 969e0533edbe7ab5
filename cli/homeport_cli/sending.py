"""What a user sees of the code that goes along: a row of the plan, and the progress of its upload."""

from homeport import Client, Prepared
from homeport.code.checked import Checked
from homeport.code.words import counted, shown, size

from homeport_cli.context import Terminal

PROGRESS_FROM_BYTES = 1_000_000  # less is over before a bar can be read


def row(checked: Checked) -> str:
    """ "12 files, 1MB from /path (3 files, 4kB to upload)"."""
    bundle = checked.bundle
    what = f"{counted(bundle.file_count, 'file')}, {size(bundle.total_bytes)} from {shown(bundle.root)}"
    return f"{what} ({_todo(checked)} to upload)" if checked.missing else f"{what} (nothing to upload)"


def send(api: Client, terminal: Terminal, prepared: Prepared) -> None:
    """Upload what is missing; nothing when nothing is. Raises Error."""
    checked = prepared.code
    if checked is None or not checked.missing:
        return
    total = checked.missing_bytes
    if total <= PROGRESS_FROM_BYTES or not terminal.err.is_terminal:
        terminal.say(f"Uploading {_todo(checked)}")
        api.upload(prepared)
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=terminal.err, transient=True) as progress:
        task = progress.add_task("Uploading code", total=total)
        api.upload(prepared, on_sent=lambda count: progress.update(task, advance=count))
    terminal.say(f"Uploaded {_todo(checked)}")


def _todo(checked: Checked) -> str:
    return f"{counted(len(checked.missing), 'file')}, {size(checked.missing_bytes)}"
