"""Contents of files: their hash, and the same bytes once more in pieces. In blocks; no file is ever held whole.

A file has the length that it had when it was looked at: what is written at its end meanwhile (a log) is left out. Shorter, or
other bytes than those that were hashed, is an error and never sent as the content that it is not.
"""

import hashlib
import os
import stat
from collections.abc import Iterator

from homeport.code.survey import changing, unreadable

BLOCK_BYTES = 1 << 20


def sha256_of(local: str, size: int) -> str:
    """Of the first `size` bytes; lower-case hex. Raises Invalid: it cannot be read, or is shorter by now."""
    digest = hashlib.sha256()
    for block in blocks(local, size, BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def blocks(local: str, size: int, block_bytes: int) -> Iterator[memoryview]:
    """The first `size` bytes, each view good until the next one is asked for. Raises Invalid."""
    buffer = memoryview(bytearray(min(block_bytes, max(size, 1))))
    try:
        # O_NONBLOCK: what is a named pipe by now must not hold us up. O_NOFOLLOW: nor a symlink lead elsewhere.
        handle = os.open(local, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise changing(local) from None
    except OSError as error:
        raise unreadable(local, error) from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise changing(local)
        left = size
        while left:
            got = os.readv(handle, [buffer[: min(left, block_bytes)]])
            if not got:
                raise changing(local)
            left -= got
            yield buffer[:got]
    except OSError as error:
        raise unreadable(local, error) from None
    finally:
        os.close(handle)
