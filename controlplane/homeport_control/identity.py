"""What makes several servers one to hosts and users: CA, sealing key and the key of the listeners, as one file to carry.

Whoever has that file is the server: it is written with mode 0600, and never over another CA.
"""

import json
from pathlib import Path

from homeport_control.domain.errors import BadRequest, Conflict, NotReady
from homeport_control.listeners import kept_key
from homeport_control.trust.ca import CertificateAuthority, write_private

# ca.key before ca.pem, as trust/ca.py makes them: one without the other is never half an identity.
FILES = {"secret.key": 0o600, "server.key": 0o600, "ca.key": 0o600, "ca.pem": 0o644}
MAX_BYTES = 64 << 10


def export_identity(directory: Path, file: Path) -> str:
    """Returns the CA's hash. Raises NotReady when there is no identity yet, Conflict when the file is there."""
    missing = [name for name in ("ca.pem", "ca.key", "secret.key") if not (directory / name).exists()]
    if missing:
        raise NotReady(
            f"{directory} has no {', '.join(missing)}: it is no server yet; `homeport server init` makes one"
        )
    if file.exists():
        raise Conflict(f"{file} is there already; choose another name or remove it")
    ca = CertificateAuthority.load_or_create(directory, "")
    if not kept_key(directory):  # it was never run: join commands will pin this one
        write_private(directory / "server.key", ca.server_pair().key_pem)
    content = {name: (directory / name).read_text() for name in FILES}
    write_private(file, json.dumps(content).encode())
    return ca.sha256


def import_identity(directory: Path, file: Path) -> str:
    """Returns the CA's hash. Raises BadRequest when the file is none of ours, Conflict when another CA is here."""
    try:
        with file.open("rb") as opened:
            content = json.loads(opened.read(MAX_BYTES))
    except ValueError:
        content = None
    if (
        not isinstance(content, dict)
        or set(content) != set(FILES)
        or not all(isinstance(it, str) for it in content.values())
    ):
        raise BadRequest(f"{file} is not what `homeport server identity export` writes")
    known = directory / "ca.pem"
    if known.exists() and known.read_text() != content["ca.pem"]:
        raise Conflict(f"{directory} has another CA, which hosts may trust; choose another --state-dir or remove it")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, mode in FILES.items():
        write_private(directory / name, content[name].encode(), mode=mode)
    return CertificateAuthority.load_or_create(directory, "").sha256
