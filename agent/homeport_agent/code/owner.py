"""PURE: whom files in a container belong to, so that its program may write them.

Follows what Docker makes of `user` when it starts the program: numbers as they are, names by the container's own
passwd and group. A name that is not there is root here; the start then says that the user is unknown.
"""

from dataclasses import dataclass

PASSWD, GROUP = "/etc/passwd", "/etc/group"


@dataclass(frozen=True, slots=True)
class Owner:
    uid: int = 0
    gid: int = 0


ROOT = Owner()


def needs_files(user: str) -> bool:
    """Whether the container's passwd and group must be read."""
    return user not in ("", "root", "0", "0:0", "root:root")


def owner_of(user: str, passwd: bytes, group: bytes) -> Owner:
    name, _, group_name = user.partition(":")
    row = next((it for it in _rows(passwd, 4) if name in (it[0], it[2])), None)
    if name.isdecimal():
        owner = Owner(int(name), _number(row[3]) if row else 0)
    elif row is not None:
        owner = Owner(_number(row[2]), _number(row[3]))
    else:
        return ROOT
    if not group_name:
        return owner
    if group_name.isdecimal():
        return Owner(owner.uid, int(group_name))
    found = next((it for it in _rows(group, 3) if it[0] == group_name), None)
    return Owner(owner.uid, _number(found[2]) if found else owner.gid)


def _rows(text: bytes, columns: int) -> list[list[str]]:
    rows = [line.split(":") for line in text.decode("utf-8", "replace").splitlines()]
    return [row for row in rows if len(row) >= columns]


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
