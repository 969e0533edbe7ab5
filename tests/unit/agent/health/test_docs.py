"""The page's tables are drawn from the code: `python -P tests/unit/agent/health/test_docs.py` writes them anew."""

import ast
import re
import tomllib
from pathlib import Path

from homeport_agent.gpus.model import Severity
from homeport_agent.health import flaps, hosts, judge, overrides, signs
from homeport_agent.health.xids import BUILT_IN, ROWS

PAGE = Path(__file__).parents[4] / "docs" / "gpus.md"
# What the sources compare with, and find nothing by.
NVML_WORDS = {
    "not-loaded",
    "hw-slowdown",
    "hw-thermal-slowdown",
    "sw-thermal-slowdown",
    "hw-power-brake",
    "hw-power-brake-slowdown",
}
SOURCES = [Path(it.__file__) for it in (judge, signs, hosts, flaps)]

# code, what it is, how bad and when. The codes are held to the sources below, the numbers are taken from them.
SIGNS = (
    ("ecc-double-bit", "uncorrected memory errors came while the agent watched", "failing"),
    ("ecc-uncorrected", "there were some since the driver was loaded", "warning"),
    ("row-remap-failure", "a memory row could not be remapped", "failing"),
    ("row-remap-pending", "a memory row waits for a reset to be remapped", "warning"),
    ("page-retirement-pending", "a memory page waits for a reset to be retired", "warning"),
    ("gpu-lost", "NVML says that it is lost", "failing"),
    ("gpu-missing", "it was there once, and is gone without a word", f"failing after {signs.MISSING_S:.0f} s"),
    ("gpu-hung", "a call of NVML about it did not come back", "failing"),
    (
        "nvml-errors",
        "NVML answers with an error instead of it",
        f"warning after {signs.ERRORS_S:.0f} s, failing after {signs.ERRORS_FAILING_S:.0f} s",
    ),
    ("nvml-faults", "single calls about it fail", f"warning after {signs.FAULTS_S:.0f} s"),
    ("compute-prohibited", "its compute mode is prohibited: no CUDA context is possible", "failing"),
    ("no-cuda-context", "the check that should prove it failed", "failing"),
    (
        "throttled-thermal",
        "the hardware slows it for heat",
        f"warning after {signs.THROTTLED_S:.0f} s, failing after {signs.SLOWED_S / 60:.0f} min",
    ),
    ("throttled-thermal-driver", "the driver slows it for heat", f"warning after {signs.THROTTLED_S:.0f} s"),
    (
        "throttled-power-brake",
        "the power supply slows it",
        f"warning after {signs.THROTTLED_S:.0f} s, failing after {signs.SLOWED_S / 60:.0f} min",
    ),
    (
        "throttled-hardware",
        "the hardware slows it, and an older GPU does not say why",
        f"warning after {signs.THROTTLED_S:.0f} s, failing after {signs.SLOWED_S / 60:.0f} min",
    ),
    ("pcie-replays", f"more than {signs.MOST_REPLAYS} PCIe replays within a minute", "warning"),
    ("nvlink-errors", f"more than {signs.MOST_LINK_ERRORS} NVLink errors within a minute", "warning"),
    ("flapping", "it came back and failed again, and is watched", "failing"),
    ("nvml-hung", "NVML as a whole does not answer", f"failing after {signs.HUNG_ALL_S:.0f} s; of the host: warning"),
    (
        "driver-mismatch",
        "driver and library do not fit together",
        f"failing after {signs.RELOADED_S:.0f} s; of the host: warning",
    ),
    (
        "driver-not-loaded",
        "there is no driver, and there were GPUs",
        f"failing after {signs.RELOADED_S:.0f} s; of the host: warning",
    ),
    ("gpu-unknown", "of the host: a GPU that has never answered", f"warning after {hosts.LASTS_S:.0f} s"),
    ("docker", "of the host: Docker does not answer", f"failing after {hosts.DOCKER_S:.0f} s"),
    (
        "disk",
        f"of the host: less than {hosts.DISK_SHARE:.0%} and {hosts.DISK_MIB / 1024:.0f} GiB are free for Docker",
        f"warning after {hosts.LASTS_S:.0f} s",
    ),
    (
        "clock",
        f"of the host: its clock is more than {hosts.CLOCK_S:.0f} s off the server's",
        f"warning after {hosts.LASTS_S:.0f} s",
    ),
)


def signs_table() -> str:
    rows = [f"| `{code}` | {what} | {bad} |" for code, what, bad in SIGNS]
    return "\n".join(["| code | what it is | how bad |", "|---|---|---|", *rows]) + "\n"


def xids_table() -> str:
    rows = []
    for first, last, row in ROWS:
        code = str(first) if first == last else f"{first}–{last}"
        often = f"; {row.often} from {row.often_count} times on" if row.often else ""
        rows.append(f"| {code} | {row.title} | {row.severity or 'none'}{often} | {row.action} |")
    head = ["| `xid-` | what it is | how bad | what to do |", "|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def drawn(text: str) -> str:
    for name, table in (("signs", signs_table()), ("xids", xids_table())):
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        text = text[: text.index(begin) + len(begin)] + table + text[text.index(end) :]
    return text


def test_the_page_shows_the_tables_of_the_code() -> None:
    text = PAGE.read_text("utf-8")
    assert text == drawn(text), f"write it anew: python -P {Path(__file__).name}"


def test_the_page_names_every_code_that_the_sources_know() -> None:
    words = [
        node.value
        for it in SOURCES
        for node in ast.walk(ast.parse(it.read_text("utf-8")))
        if isinstance(node, ast.Constant)
    ]
    found = {
        it for it in words if isinstance(it, str) and re.fullmatch(r"[a-z]+(-[a-z]+)+|docker|disk|clock|flapping", it)
    }
    assert found - NVML_WORDS == {code for code, _, _ in SIGNS}


def test_the_example_of_the_owners_file_is_one(tmp_path: Path) -> None:
    example = PAGE.read_text("utf-8").partition("```toml\n")[2].partition("```")[0]
    assert tomllib.loads(example)
    (tmp_path / "xids.toml").write_text(example)
    table = overrides.read(tmp_path / "xids.toml")
    assert (table[63].severity, BUILT_IN[63].severity) == (Severity.FAILING, Severity.WARNING)


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text("utf-8")), "utf-8")
