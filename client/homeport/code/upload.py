"""The contents that the server lacks, as the messages of one stream. Each is hashed once more on its way.

Does not cover the call itself (`client`) and how its progress looks (`sending`).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence

from homeport_protos.api.v1.api_pb2 import UploadCodeRequest
from homeport_protos.code import CHUNK_BYTES

from homeport.code.bundle import Bundle
from homeport.code.hashing import blocks
from homeport.code.survey import changing


def messages(
    bundle: Bundle, code_id: str, missing: Sequence[str], sent: Callable[[int], None] = lambda size: None
) -> Iterator[UploadCodeRequest]:
    """`sent` hears the bytes of each piece. Raises Invalid for a file that is not what was hashed, before its last piece."""
    first = code_id
    for sha256 in missing:
        source = bundle.sources[sha256]
        digest = hashlib.sha256()
        left = source.size
        if not left:
            yield UploadCodeRequest(sha256=sha256, last=True, code_id=first)
            first = ""
        for block in blocks(source.local, source.size, CHUNK_BYTES):
            digest.update(block)
            left -= len(block)
            if not left and digest.hexdigest() != sha256:
                raise changing(source.local)
            yield UploadCodeRequest(sha256=sha256, data=bytes(block), last=not left, code_id=first)
            first = ""
            sent(len(block))


def missing_bytes(bundle: Bundle, missing: Sequence[str]) -> int:
    return sum(bundle.sources[sha256].size for sha256 in missing)
