"""A host's certificate whose time is over: the same key and number, dates of the past. Its agent must not run meanwhile."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from homeport_agent.identity import IdentityStore
from rig.machine import Machine

STATE = "var/lib/homeport/agent"


def let_expire(machine: Machine, server_state: Path) -> None:
    """An hour ago. What watches the file, Envoy, has the expired one from now on."""
    store = IdentityStore(machine.root / STATE)
    identity = store.read()
    shown = x509.load_pem_x509_certificate(identity.certificate_pem.encode())
    key = serialization.load_pem_private_key((server_state / "ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    end = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(shown.subject)
        .issuer_name(shown.issuer)
        .public_key(shown.public_key())
        .serial_number(shown.serial_number)
        .not_valid_before(end - dt.timedelta(days=1))
        .not_valid_after(end)
    )
    for extension in shown.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    store.save(replace(identity, certificate_pem=pem, not_after_s=end.timestamp()))
    machine.shell(f"chown -R homeport: /{STATE}/identity")
