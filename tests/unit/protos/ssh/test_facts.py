"""ssh/facts: what `install.sh --survey` says. That the script says it so: tests/hosts/test_on_demand.py."""

import re
from pathlib import Path

from homeport_protos.ssh.facts import GPU_QUERY, facts_of

SAID = """system     Debian GNU/Linux 12 (bookworm), x86_64, kernel 6.1
fact hostname gpu-1
fact os Debian GNU/Linux 12 (bookworm)
fact cpus 24
fact memory_mib 64222
fact disk_free_mib many
fact colour blue
gpu GPU-2, NVIDIA RTX A5000, 24564, 8.6, 00000000:02:00.0, 570.86.15, [N/A]
gpu GPU-1, NVIDIA A100-SXM4-80GB, 81920, 8.0, 00000000:01:00.0, 570.86.15, Enabled
gpu GPU-3, Some GPU, [N/A], 8.6, 00000000:02:00.0, 570.86.15, [N/A]
gpu No devices were found
"""


def test_names_numbers_and_gpus_are_read_and_the_rest_is_passed_over() -> None:
    facts = facts_of(SAID)
    assert (facts.hostname, facts.os) == ("gpu-1", "Debian GNU/Linux 12 (bookworm)")
    assert (facts.cpus, facts.memory_mib, facts.disk_free_mib) == (24, 64222, 0)
    assert [(gpu.uuid, gpu.name, gpu.memory_total_mib, gpu.mig_enabled) for gpu in facts.gpus] == [
        ("GPU-1", "NVIDIA A100-SXM4-80GB", 81920, True),
        ("GPU-2", "NVIDIA RTX A5000", 24564, False),
    ]
    assert facts.gpus[0].compute_capability == "8.0"


def test_the_script_asks_for_the_same_columns() -> None:
    script = Path(__file__).parents[4] / "controlplane/homeport_control/web/install.sh"
    found = re.search(r"^ *query=(\S+)$", script.read_text(), re.MULTILINE)
    assert found is not None
    assert tuple(found[1].split(",")) == GPU_QUERY
