"""ssh/remote: which reason is told of a script that failed. The rest needs a machine: tests/hosts/test_ssh_fleet.py."""

import pytest
from homeport_protos.ssh.remote import _reason


@pytest.mark.parametrize(
    ("complaints", "said", "reason"),
    [
        ("docker     FAILED: no engine; fix: install it\ninstall.sh: 1 of the checks above failed\n", "",
         "docker: no engine; fix: install it"),
        ("disk  FAILED: full; fix: free\nclock  FAILED: off; fix: set\n", "", "disk: full; fix: free (and 1 more)"),
        ("install.sh: pip could not install the agent: no network\n", "system Debian\n",
         "pip could not install the agent: no network"),
        ("", "system Debian\nsomething\n", "something"),
        ("", "", "the install script ended with 7 and said nothing"),
    ],
)  # fmt: skip
def test_the_reason_is_one_line(complaints: str, said: str, reason: str) -> None:
    assert _reason(complaints, said, 7) == reason
