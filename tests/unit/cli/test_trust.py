import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fakes.api import self_signed
from fakes.web import Web
from homeport import Unreachable
from homeport_cli import trust
from homeport_cli.errors import CliError

CERTIFICATE = self_signed()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    made = Web(CERTIFICATE, tmp_path)
    yield made
    made.close()


def test_the_ca_is_downloaded_as_it_is(web: Web) -> None:
    assert trust.download(web.address) == CERTIFICATE.pem.decode()
    assert web.paths == ["/ca.pem"]


def test_the_fingerprint_is_the_sha256_of_the_der() -> None:
    der = x509.load_pem_x509_certificate(CERTIFICATE.pem).public_bytes(Encoding.DER)
    assert trust.fingerprint(CERTIFICATE.pem.decode()) == hashlib.sha256(der).hexdigest()


def test_a_hash_that_fits_is_silent_however_it_is_written() -> None:
    pem = CERTIFICATE.pem.decode()
    digits = trust.fingerprint(pem)
    pairs = ":".join(digits[at : at + 2] for at in range(0, 64, 2)).upper()
    for written in (digits, pairs, f"sha256:{digits}"):
        trust.must_match(pem, written)


def test_another_hash_is_refused_with_both_readings_of_it() -> None:
    with pytest.raises(CliError, match=r"another CA certificate.*somebody stands between"):
        trust.must_match(CERTIFICATE.pem.decode(), "00" * 32)


def test_a_prefix_of_the_hash_is_not_enough() -> None:
    pem = CERTIFICATE.pem.decode()
    with pytest.raises(CliError):
        trust.must_match(pem, trust.fingerprint(pem)[:32])


def test_a_page_that_is_no_certificate_is_one_line(web: Web) -> None:
    web.body = b"<html>hello</html>"
    with pytest.raises(CliError, match="is no CA certificate"):
        trust.download(web.address)
    web.body, web.status = CERTIFICATE.pem, 404
    with pytest.raises(CliError, match="status 404"):
        trust.download(web.address)


def test_nobody_listening_names_the_address_and_the_other_way() -> None:
    with pytest.raises(Unreachable, match=r"https://127.0.0.1:1/ca.pem: connection refused.*--ca FILE"):
        trust.download("127.0.0.1:1")


def test_a_broken_certificate_has_no_fingerprint() -> None:
    with pytest.raises(CliError, match="not a valid PEM"):
        trust.fingerprint("hello")
