"""One certificate for one name from an ACME directory (RFC 8555), proved over HTTP-01 or DNS-01.

Blocking, for a thread; every request has a deadline, and so has the whole. Covers the account, made when there is none, and
the words for what goes wrong. Does not cover who answers the proof (`show`), nor when to ask (decide/certificates).
"""

import datetime as dt
from collections.abc import Callable
from typing import Any

import josepy
import josepy.jwk
import requests
from acme import client, crypto_util, errors, messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from homeport_control.domain.certificates import DNS_01, LETS_ENCRYPT, CannotIssue, Issued

REQUEST_S = 20
NONCES = 5  # asked for in a row, each twice
ORDER_S = 90.0
USER_AGENT = "homeport"
MIN_RATE_LIMIT_S = 3600.0


def new_account_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return _pem(key)


def obtain(
    directory: str, email: str, account_key_pem: str, name: str, challenge: str, show: Callable[[str, str], None]
) -> Issued:
    """`show(where, text)` returns when the name answers so at that path, or that TXT record says so. Raises CannotIssue."""
    account_key = josepy.jwk.JWKRSA.load(account_key_pem.encode())
    network = _Network(account_key, user_agent=USER_AGENT, timeout=REQUEST_S)
    waits = _Waits(network)
    try:
        return _obtain(network, account_key, directory or LETS_ENCRYPT, email, name, challenge, show)
    except errors.ValidationError as error:
        raise CannotIssue(_validation(name, challenge, error)) from None
    except messages.Error as error:
        limited = error.code == "rateLimited"
        what = "has too many orders of us now" if limited else "refused the order"
        wait_s = max(waits.last_s, MIN_RATE_LIMIT_S if limited else 0.0)
        raise CannotIssue(f"the authority {what}: {error.detail or error.code}", wait_s) from None
    except errors.TimeoutError:
        raise CannotIssue(f"the authority did not finish the order within {ORDER_S:g} s") from None
    except (
        errors.Error,
        josepy.errors.Error,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:  # the library takes for granted that what comes has the form that it must have
        raise CannotIssue(f"the authority at {directory or LETS_ENCRYPT} was not understood: {error}") from None
    except (requests.RequestException, OSError) as error:
        raise CannotIssue(f"the authority at {directory or LETS_ENCRYPT} cannot be reached: {_reason(error)}") from None


class _Network(client.ClientNetwork):
    """A nonce that an authority refuses is no fault of the order (RFC 8555, 6.5); the library itself asks once more only."""

    def post(self, *arguments: Any, **more: Any) -> requests.Response:
        for _ in range(NONCES - 1):
            try:
                return super().post(*arguments, **more)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*arguments, **more)


class _Waits:
    """How long the last answer asked to be left alone (`Retry-After`, RFC 8555, sections 6.6 and 6.7)."""

    def __init__(self, network: client.ClientNetwork) -> None:
        self.last_s = 0.0
        network.session.hooks["response"].append(self._heard)

    def _heard(self, response: requests.Response, **_: object) -> None:
        asked = response.headers.get("Retry-After", "")
        self.last_s = float(asked) if asked.isascii() and asked.isdigit() and not response.ok else 0.0


def _obtain(
    network: client.ClientNetwork,
    account_key: josepy.jwk.JWK,
    directory: str,
    email: str,
    name: str,
    challenge: str,
    show: Callable[[str, str], None],
) -> Issued:
    acme = client.ClientV2(client.ClientV2.get_directory(directory, network), network)
    _account(acme, network, email)
    key_pem = _pem(ec.generate_private_key(ec.SECP256R1()))
    order = acme.new_order(crypto_util.make_csr(key_pem.encode(), [name]))
    for authorization in order.authorizations:
        if authorization.body.status == messages.STATUS_VALID:
            continue  # proved a little while ago
        proof = next((it for it in authorization.body.challenges if it.chall.typ == challenge), None)
        if proof is None:
            raise CannotIssue(f"the authority does not take a proof by {challenge} for {name}")
        answer, text = proof.response_and_validation(account_key)
        if challenge == DNS_01:
            show(f"{proof.chall.validation_domain_name(authorization.body.identifier.value)}.", text)
        else:
            show(proof.chall.path, text)
        acme.answer_challenge(proof, answer)
    # Naive local time, as this client compares it.
    done = acme.poll_and_finalize(order, dt.datetime.now() + dt.timedelta(seconds=ORDER_S))  # noqa: DTZ005
    return Issued(done.fullchain_pem, key_pem)


def _account(acme: client.ClientV2, network: client.ClientNetwork, email: str) -> None:
    """The one that this key has, or a new one."""
    wanted = messages.NewRegistration.from_data(email=email or None, terms_of_service_agreed=True)
    try:
        acme.new_account(wanted)
    except errors.ConflictError as conflict:
        known = messages.RegistrationResource(uri=conflict.location, body=messages.Registration())
        network.account = known


def _validation(name: str, challenge: str, error: errors.ValidationError) -> str:
    """In the authority's own words: what it saw when it looked."""
    said = [
        challenge.error.detail
        for failed in error.failed_authzrs
        for challenge in failed.body.challenges
        if challenge.error is not None and challenge.error.detail
    ]
    words = said[0] if said else "it gave no reason"
    hint = (
        "has the hook set the record, and waited until it can be seen?"
        if challenge == DNS_01
        else "does the name point to the gateway, port 80?"
    )
    return f"the authority could not prove that {name} is ours: {words}; {hint}"


def _reason(error: Exception) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, requests.Timeout):
        return f"it did not answer within {REQUEST_S} s"
    return "no connection"


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
