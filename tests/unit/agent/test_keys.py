import pytest
from homeport_agent import keys


async def test_a_key_is_ecdsa_and_its_request_is_signed_by_it() -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    made = await keys.new_key("gpu-1")
    key = load_pem_private_key(made.key_pem.encode(), None)
    request = x509.load_pem_x509_csr(made.csr_pem.encode())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert request.is_signature_valid
    assert request.public_key() == key.public_key()
    assert made.key_pem not in repr(made)


async def test_what_is_no_certificate_fails_in_one_line() -> None:
    with pytest.raises(keys.KeysFailed) as caught:
        await keys.validity("nothing")
    assert "\n" not in str(caught.value)


async def test_a_signature_is_by_the_key() -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    made = await keys.new_key("gpu-1")
    key = load_pem_private_key(made.key_pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    key.public_key().verify(await keys.sign(made.key_pem, "a\nb"), b"a\nb", ec.ECDSA(hashes.SHA256()))


async def test_what_is_no_key_signs_nothing_and_is_not_shown() -> None:
    with pytest.raises(keys.KeysFailed) as caught:
        await keys.sign("a secret that is no key", "text")
    assert "secret" not in str(caught.value)
