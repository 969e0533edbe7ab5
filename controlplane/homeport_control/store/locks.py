"""Advisory locks of PostgreSQL, by number: what all servers on one database agree on."""

from typing import Final

WRITE_LOCK: Final = 0x686F6D65706F7274  # "homeport": of every write transaction, and of migrations
LEAD_LOCK: Final = WRITE_LOCK + 1  # held by the session of the server that leads
