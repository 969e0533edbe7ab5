"""issuing/dns_hook: how an owner's program is called, and what is said when it fails, hangs or is not there."""

import os
import select
import time
from pathlib import Path

import pytest
from homeport_control.domain.certificates import CannotIssue
from homeport_control.issuing.dns_hook import call


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    """A program that is to be written by the test."""
    file = tmp_path / "hook"
    file.touch(0o755)
    return file


def failure(hook: Path, timeout_s: float = 20.0) -> str:
    with pytest.raises(CannotIssue) as caught:
        call(str(hook), "present", "_acme-challenge.example.com.", "text", timeout_s)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_gets_action_record_and_value_and_the_environment_without_our_settings(
    hook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DNS_KEY", "owner's own")
    monkeypatch.setenv("HOMEPORT_DATABASE", "secret")
    hook.write_text(f'#!/bin/sh\necho "$#|$1|$2|$3|$DNS_KEY|$HOMEPORT_DATABASE|$PWD|$(cat)" > {tmp_path}/got\n')
    call(str(hook), "cleanup", "_acme-challenge.example.com.", "-text; $(x)")
    got = (tmp_path / "got").read_text()
    assert got == "3|cleanup|_acme-challenge.example.com.|-text; $(x)|owner's own||/|\n"


def test_one_that_fails_is_told_with_its_last_line(hook: Path) -> None:
    hook.write_text("#!/bin/sh\necho first\nprintf 'no such\\033[1m zone\\n\\n' >&2\nexit 3\n")
    assert failure(hook) == f"the hook {hook} present failed with status 3: no such[1m zone"
    hook.write_text("#!/bin/sh\nkill -9 $$\n")
    assert failure(hook) == f"the hook {hook} present ended by signal 9: it said nothing"


def test_one_that_writes_without_end_costs_no_memory_and_a_long_line_is_cut(hook: Path) -> None:
    hook.write_text("#!/bin/sh\nhead -c 50000000 /dev/zero | tr '\\0' x\nexit 1\n")
    said = failure(hook)
    assert said.startswith(f"the hook {hook} present failed with status 1: xxx")
    assert len(said) < 500


def test_one_that_hangs_is_killed_with_what_it_has_started(hook: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "held")
    held = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    hook.write_text(f"#!/bin/sh\nsleep 1000 > {tmp_path}/held &\nwait\n")
    began_s = time.monotonic()
    assert failure(hook, 0.5) == f"the hook {hook} present did not end within 0.5 s, and was killed"
    assert time.monotonic() - began_s < 5
    ends = select.poll()
    ends.register(held, select.POLLHUP)
    assert ends.poll(5000), "somebody can write there still"
    os.close(held)


@pytest.mark.parametrize(("content", "mode"), [(None, 0), ("#!/bin/sh\n", 0o644), ("no program", 0o755)])
def test_one_that_cannot_be_run_is_told(hook: Path, content: str | None, mode: int) -> None:
    hook.unlink()
    if content is not None:
        hook.write_text(content)
        hook.chmod(mode)
    assert failure(hook).startswith(f"the hook {hook} present cannot be run on the server's machine: ")


def test_what_it_leaves_running_is_not_waited_for(hook: Path) -> None:
    hook.write_text("#!/bin/sh\nsleep 20 &\nexit 1\n")
    began_s = time.monotonic()
    assert "failed with status 1" in failure(hook)
    assert time.monotonic() - began_s < 5
