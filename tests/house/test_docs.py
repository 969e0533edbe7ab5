"""What the pages tell a reader to type exists: commands, scripts and files that README.md and the rooms' pages name."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md")), *sorted(ROOT.glob("docs/*.md"))]


def code_of(page: Path) -> list[str]:
    """Lines of fenced blocks and spans of code, without prompts and comments."""
    text = page.read_text()
    fenced = re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
    lines = [line for block in fenced for line in block.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [line.strip().removeprefix("$ ").removeprefix("sudo ") for line in (*lines, *spans)]


def homeport_commands(page: Path) -> set[str]:
    """`apply`, `fleet list` …: the verb of each `homeport …` line, with its second word for the verbs that have one."""
    found = set()
    for line in code_of(page):
        match = re.match(r"homeport ((?:fleet|token|server|agent) [a-z-]+|[a-z]+)\b", line)
        if match:
            found.add(match[1])
    return found


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_on_the_page_exist(page: Path) -> None:
    unknown = {}
    for command in sorted(homeport_commands(page)):
        argv = [sys.executable, "-P", "-m", "homeport_cli", *shlex.split(command), "--help"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            unknown[command] = done.stderr[-200:]
    assert unknown == {}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_scripts_and_links_on_the_page_exist(page: Path) -> None:
    scripts = [
        match[0] for line in code_of(page) if (match := re.match(r"(\./)?(scripts/\w+|\.ci/run|install\.sh)\b", line))
    ]
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    missing = [name for name in scripts if not (ROOT / name).is_file()]
    missing += [link for link in links if not (page.parent / link).exists()]
    assert missing == []


def test_the_readme_names_the_one_test_command() -> None:
    assert "scripts/test" in (ROOT / "README.md").read_text()
    assert "scripts/test" in (ROOT / ".ci/run").read_text()
