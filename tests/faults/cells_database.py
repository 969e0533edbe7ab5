"""What is promised when something happens to the database."""

from faults.words import Absent, Promise

PROMISES: tuple[Promise, ...] = ()
ABSENT: tuple[Absent, ...] = ()
