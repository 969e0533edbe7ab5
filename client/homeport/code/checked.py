"""Code whose manifest the server has: what it lacks of the contents, and how long sending that may take.

Does not cover which files these are (`bundle`) and the call itself (`operations.deploy`).
"""

from dataclasses import dataclass

from homeport_protos.api.v1 import api_pb2

from homeport.code import upload
from homeport.code.bundle import Bundle
from homeport.code.words import counted, listed, shown
from homeport.errors import Error, Invalid

LEAST_DEADLINE_S = 120.0
SLOWEST_BYTES_PER_S = 50_000.0  # a link below that is given up on


@dataclass(frozen=True, slots=True)
class Checked:
    bundle: Bundle
    code_id: str
    missing: tuple[str, ...]  # sha256 of the contents that the server lacks

    @property
    def missing_bytes(self) -> int:
        return upload.missing_bytes(self.bundle, self.missing)

    @property
    def deadline_s(self) -> float:
        return LEAST_DEADLINE_S + self.missing_bytes / SLOWEST_BYTES_PER_S


def checked(bundle: Bundle, answer: api_pb2.CheckCodeResponse) -> Checked:
    """Raises Invalid: the server refuses the code; Error: it asks for what is not there."""
    if answer.problems:
        problems = [shown(problem) for problem in answer.problems]
        raise Invalid(f"the server does not take the code of {shown(bundle.root)}:", listed(problems))
    if strange := set(answer.missing_sha256) - set(bundle.sources):
        raise Error(
            f"the server asks for {counted(len(strange), 'content')} that this code has not; is it a newer version?"
        )
    return Checked(bundle, answer.code_id, tuple(answer.missing_sha256))
