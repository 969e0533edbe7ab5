"""trust/ca: one CA for the life of a server, certificates with our names only, keys that nobody else reads."""

import datetime as dt
import hashlib
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from fixtures.control import SERVER_ID
from homeport_control.domain.errors import BadRequest, NotReady
from homeport_control.trust.ca import HOST_LIFETIME, SERVER_NAME, CertificateAuthority, KeyPair, write_private


def csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, name: str = "whatever") -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("homeport://host/somebody-else")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(names, critical=False)
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
def ca(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority.load_or_create(tmp_path, SERVER_ID)


def test_a_second_start_finds_the_same_ca(ca: CertificateAuthority, tmp_path: Path) -> None:
    again = CertificateAuthority.load_or_create(tmp_path, "another id")
    assert again.pem == ca.pem
    certificate = x509.load_pem_x509_certificate(
        again.sign_host(csr(ec.generate_private_key(ec.SECP256R1())), "h").encode()
    )
    certificate.verify_directly_issued_by(ca.certificate)


def test_a_machine_whose_clock_is_an_hour_behind_takes_what_was_made_just_now(ca: CertificateAuthority) -> None:
    host = x509.load_pem_x509_certificate(ca.sign_host(csr(ec.generate_private_key(ec.SECP256R1())), "h").encode())
    server = x509.load_pem_x509_certificate(ca.server_pair().certificate_pem)
    behind = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    for certificate in (ca.certificate, server, host):
        assert certificate.not_valid_before_utc < behind


def test_the_key_is_the_owners_alone(ca: CertificateAuthority, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.key", "ca.pem"]


def test_a_certificate_whose_key_is_gone_is_never_replaced(ca: CertificateAuthority, tmp_path: Path) -> None:
    (tmp_path / "ca.key").unlink()
    with pytest.raises(NotReady, match=r"ca\.key is missing.*put it back"):
        CertificateAuthority.load_or_create(tmp_path, SERVER_ID)
    assert (tmp_path / "ca.pem").read_bytes() == ca.pem


def test_a_key_without_a_certificate_is_a_first_start_that_was_killed(ca: CertificateAuthority, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").unlink()
    made = CertificateAuthority.load_or_create(tmp_path, SERVER_ID)
    assert (tmp_path / "ca.pem").read_bytes() == made.pem


@pytest.mark.parametrize("name", ["ca.key", "ca.pem"])
def test_a_file_that_is_damaged_is_named(ca: CertificateAuthority, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(NotReady, match=r"the server's CA in .* cannot be read"):
        CertificateAuthority.load_or_create(tmp_path, SERVER_ID)


def test_a_key_of_another_ca_is_refused(ca: CertificateAuthority, tmp_path: Path) -> None:
    CertificateAuthority.load_or_create(tmp_path / "other", SERVER_ID)
    (tmp_path / "other" / "ca.key").replace(tmp_path / "ca.key")
    with pytest.raises(NotReady, match="do not belong together"):
        CertificateAuthority.load_or_create(tmp_path, SERVER_ID)


def test_the_pin_is_the_hash_of_the_certificates_der(ca: CertificateAuthority) -> None:
    der = ca.certificate.public_bytes(serialization.Encoding.DER)
    assert ca.sha256 == hashlib.sha256(der).hexdigest()


def test_a_host_gets_its_own_names_whatever_it_asked_for(ca: CertificateAuthority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = x509.load_pem_x509_certificate(ca.sign_host(csr(key, "homeport-server"), "host1").encode())
    assert [a.value for a in certificate.subject] == ["host1"]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == ["homeport://host/host1", "host1.host.homeport"]
    assert certificate.public_key() == key.public_key()
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    life = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    assert HOST_LIFETIME - dt.timedelta(minutes=1) < life <= HOST_LIFETIME
    certificate.verify_directly_issued_by(ca.certificate)


def test_a_request_that_is_not_one_is_refused(ca: CertificateAuthority) -> None:
    good = csr(ec.generate_private_key(ec.SECP256R1()))
    for bad in (
        "",
        "garbage",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        "\ud800",
        ca.pem.decode(),
    ):
        with pytest.raises(BadRequest, match="join again"):
            ca.sign_host(bad, "host1")
    assert ca.sign_host(good, "host1")


def test_a_request_that_its_key_did_not_sign_is_refused(ca: CertificateAuthority) -> None:
    der = bytearray(
        x509.load_pem_x509_csr(csr(ec.generate_private_key(ec.SECP256R1())).encode()).public_bytes(
            serialization.Encoding.DER
        )
    )
    at = bytes(der).index(b"whatever")
    der[at : at + 8] = b"whateveR"
    pem = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(BadRequest, match="signature is wrong"):
        ca.sign_host(pem, "host1")


def test_another_kind_of_key_is_refused(ca: CertificateAuthority) -> None:
    with pytest.raises(BadRequest, match="no elliptic-curve key"):
        ca.sign_host(csr(rsa.generate_private_key(65537, 2048)), "host1")


def test_the_servers_certificate_carries_the_name_that_clients_check(ca: CertificateAuthority) -> None:
    pair = ca.server_pair(["10.0.0.5", "box.example", "127.0.0.1"])
    certificate = x509.load_pem_x509_certificate(pair.certificate_pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [SERVER_NAME, "localhost", "box.example"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "10.0.0.5"]
    certificate.verify_directly_issued_by(ca.certificate)


def test_a_key_pair_does_not_print_its_key() -> None:
    assert "secret" not in repr(KeyPair(b"certificate", b"secret"))


def test_a_private_file_is_replaced_whole_and_private_from_its_first_byte(tmp_path: Path) -> None:
    file = tmp_path / "a.key"
    file.write_bytes(b"old")
    file.chmod(0o644)
    write_private(file, b"new")
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"new", 0o600)
    assert list(tmp_path.iterdir()) == [file]
