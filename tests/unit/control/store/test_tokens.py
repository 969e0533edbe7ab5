"""store/tokens: only hashes, valid until used, revoked or expired."""

from fixtures.control import State, add_token, written
from homeport_control.store import tokens
from homeport_control.trust.tokens import new_user_token, sha256_hex


async def test_no_file_holds_a_plain_token(state: State) -> None:
    plain = new_user_token()
    await add_token(state, plain, "user")
    kept = await written(state)
    assert sha256_hex(plain).encode() in kept
    assert plain.encode() not in kept
    assert plain.removeprefix("hp_").encode() not in kept


async def test_a_token_is_revoked_once(state: State) -> None:
    token_id = await add_token(state, "hp_a", "service")
    async with state.database.write() as write:
        assert await tokens.revoke(write, token_id, 2000.0)
        assert not await tokens.revoke(write, token_id, 3000.0)
        record = await tokens.by_hash(write.connection, sha256_hex("hp_a"))
    assert record is not None
    assert record.revoked_at_s == 2000.0
    assert record.why_not(4000.0) == "was revoked"


async def test_an_expired_token_says_since_when(state: State) -> None:
    await add_token(state, "hp_a", "user", expires_at_s=2000.0)
    async with state.database.read() as connection:
        record = await tokens.by_hash(connection, sha256_hex("hp_a"))
    assert record is not None
    assert record.why_not(1999.9) == ""
    assert record.why_not(2003.0) == "expired 3 s ago"


async def test_grants_are_what_the_gateway_may_let_in_now(state: State) -> None:
    await add_token(state, "hp_user", "user")
    await add_token(state, "hp_one", "service", services=("hello",), expires_at_s=5000.0)
    await add_token(state, "hp_old", "service", expires_at_s=1500.0)
    await add_token(state, "hpj_join", "join")
    revoked = await add_token(state, "hp_revoked", "service")
    async with state.database.write() as write:
        await tokens.revoke(write, revoked, 1800.0)
    async with state.database.read() as connection:
        grants, next_expiry_s = await tokens.grants(connection, 2000.0)
        later, no_expiry = await tokens.grants(connection, 5000.0)
    expected = {sha256_hex("hp_user"): (), sha256_hex("hp_one"): ("hello",)}
    assert {grant.token_sha256: grant.services for grant in grants} == expected
    assert [grant.token_sha256 for grant in grants] == sorted(expected)
    assert next_expiry_s == 5000.0
    assert ([grant.token_sha256 for grant in later], no_expiry) == ([sha256_hex("hp_user")], None)


async def test_a_name_finds_the_token_that_is_still_valid(state: State) -> None:
    async with state.database.write() as write:
        for number, revoked_at_s in ((1, None), (2, 900.0)):
            await tokens.insert(
                write,
                tokens.TokenRecord(
                    f"id{number}", "ci", f"{number}", "service", (), "", one_use=False,
                    created_at_s=100.0 * number, revoked_at_s=revoked_at_s, user=f"u{number}",
                ),
            )  # fmt: skip
        found = await tokens.find(write.connection, "ci")
        assert [record.id for record in found] == ["id1", "id2"]
        assert [record.id for record in await tokens.find(write.connection, "ci", user="u2")] == ["id2"]
        assert [record.id for record in await tokens.list_all(write.connection, user="u1")] == ["id1"]
        assert [record.id for record in await tokens.list_all(write.connection)] == ["id1", "id2"]
        assert await tokens.find(write.connection, "nobody") == []
