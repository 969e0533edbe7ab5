"""trust/tokens: how tokens look."""

import hashlib
import re

from homeport_control.trust.tokens import new_join_token, new_user_token, sha256_hex

PIN = "ab" * 32


def test_tokens_are_long_and_never_the_same() -> None:
    tokens = {new_user_token() for _ in range(50)}
    assert len(tokens) == 50
    assert all(re.fullmatch(r"hp_[A-Za-z0-9]{43}", token) for token in tokens)


def test_a_join_token_carries_the_pin() -> None:
    token = new_join_token(PIN)
    assert re.fullmatch(rf"hpj_{PIN}_[A-Za-z0-9]{{43}}", token)


def test_the_hash_is_plain_sha256() -> None:
    assert sha256_hex("hp_x") == hashlib.sha256(b"hp_x").hexdigest()
