import pytest
from homeport_agent.code.owner import Owner, owner_of

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nworker:x:1000:1001::/home:/bin/sh\n\nbroken\n"
GROUP = b"root:x:0:\nvideo:x:44:worker\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", Owner(0, 0)),
        ("root", Owner(0, 0)),
        ("worker", Owner(1000, 1001)),
        ("worker:video", Owner(1000, 44)),
        ("worker:7", Owner(1000, 7)),
        ("worker:ghosts", Owner(1000, 1001)),
        ("1000", Owner(1000, 1001)),  # Docker looks a number up too
        ("4242", Owner(4242, 0)),
        ("4242:99", Owner(4242, 99)),
        ("ghost", Owner(0, 0)),
    ],
)
def test_files_belong_to_whom_docker_would_start_the_program_as(user: str, expected: Owner) -> None:
    assert owner_of(user, PASSWD, GROUP) == expected


def test_a_container_without_passwd_knows_numbers_only() -> None:
    assert owner_of("1000:5", b"", b"") == Owner(1000, 5)
    assert owner_of("worker", b"", b"") == Owner(0, 0)
