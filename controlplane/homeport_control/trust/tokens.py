"""Tokens: how they look, and the only form in which they are kept.

A token is 256 random bits with a prefix that secret scanners can find; we keep its SHA-256 alone. A slow hash would add
nothing: what is hashed is random, not a password (OWASP Password Storage, on high-entropy keys).
"""

import hashlib
import secrets

USER_PREFIX = "hp_"
JOIN_PREFIX = "hpj_"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def new_user_token() -> str:
    return USER_PREFIX + _secret()


def new_join_token(ca_sha256: str) -> str:
    """A token that carries the pin of the CA, so that a host can check the server before it speaks."""
    return f"{JOIN_PREFIX}{ca_sha256}_{_secret()}"


def sha256_hex(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _secret() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(43))  # 43 * log2(62) = 256 bits
