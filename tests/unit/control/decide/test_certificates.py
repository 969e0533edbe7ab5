"""decide/certificates: which names need one, when it is due, what is wrong with it, what is shown by which name."""

from dataclasses import replace

import pytest
from homeport_control.decide.certificates import (
    CLOCK_S,
    MAX_WAIT_S,
    ca_of,
    due_at_s,
    is_due,
    is_waited_for,
    names_of,
    next_try_s,
    served,
    sources,
    trouble,
    unneeded,
    wanted,
)
from homeport_control.domain.certificates import ALL_NAMES, CA, Kept
from homeport_control.domain.gateway import Certificate, Gateway, ServedCertificate

GATEWAY = Gateway(
    "main",
    "h1",
    "::",
    80,
    "example.com",
    https_port=443,
    certificate=Certificate("self-signed"),
)
HOOKED = replace(GATEWAY, old_domain="old.org", certificate=Certificate("lets-encrypt", hook="/hook"))
KEPT = Kept("main", "web.example.com", "self-signed", "PEM", b"key", 1000.0, 4000.0)


def test_every_name_that_is_published_needs_one_and_those_of_the_old_domain_too() -> None:
    assert names_of(GATEWAY, ["web", "chat"]) == ("gateway.example.com", "chat.example.com", "web.example.com")
    moved = replace(GATEWAY, domain="b.c", old_domain="example.com")
    assert names_of(moved, ["web"]) == ("gateway.b.c", "web.b.c", "gateway.example.com", "web.example.com")


@pytest.mark.parametrize(
    ("kept", "now_s", "expected"),
    [
        (None, 2000.0, True),
        (replace(KEPT, chain_pem=""), 2000.0, True),
        (KEPT, 1000.0, False),
        (KEPT, 2999.0, False),
        (KEPT, 3000.0, True),
        (KEPT, 9000.0, True),
        (KEPT, 1000.0 - CLOCK_S, False),
        (KEPT, 1.0, False),
        (replace(KEPT, source="files"), 2000.0, True),
    ],
)
def test_it_is_due_after_two_thirds_of_its_life_and_when_there_is_none_of_its_source(
    kept: Kept | None, now_s: float, expected: bool
) -> None:
    assert is_due(kept, "self-signed", now_s) is expected
    assert due_at_s(KEPT) == 3000.0


def test_what_is_wrong_with_one_is_told() -> None:
    assert trouble(KEPT, 2000.0) == ""
    expired = "its certificate for web.example.com has expired 2 h ago and is served all the same"
    assert trouble(KEPT, 4000.0 + 7200.0) == expired
    assert trouble(KEPT, 1.0) == "its certificate for web.example.com is not valid yet: is the server's clock right?"
    broken = replace(KEPT, name=ALL_NAMES, problem="/c.pem is gone")
    assert trouble(broken, 2000.0) == "its certificate is not replaced: /c.pem is gone"
    assert trouble(replace(broken, chain_pem=""), 2000.0) == "its certificate: /c.pem is gone"


def test_each_name_shows_its_own_or_the_one_for_all_and_who_says_none_gets_the_models() -> None:
    own = {"a.b": ("A", "ka"), "c.b": ("C", "kc")}
    assert list(served(GATEWAY, ("a.b", "c.b", "d.b"), own, {})) == [
        ServedCertificate("a.b", "A", "ka"),
        ServedCertificate("", "A", "ka"),
        ServedCertificate("c.b", "C", "kc"),
    ]
    assert {it.name: it.chain_pem for it in served(GATEWAY, ("a.b", "c.b"), {ALL_NAMES: ("X", "k")}, {})} == {
        "a.b": "X",
        "": "X",
        "c.b": "X",
    }
    assert list(served(GATEWAY, (), {ALL_NAMES: ("X", "k")}, {})) == []


def test_of_another_kind_is_shown_what_there_is_not_yet_of_the_right_one() -> None:
    old = {"a.b": ("old A", "k"), "c.b": ("old C", "k")}
    shown = {it.name: it.chain_pem for it in served(GATEWAY, ("a.b", "c.b"), {"a.b": ("A", "k")}, old)}
    assert shown == {"a.b": "A", "": "A", "c.b": "old C"}
    shown = {it.name: it.chain_pem for it in served(GATEWAY, ("a.b",), {ALL_NAMES: ("X", "k")}, old)}
    assert shown == {"a.b": "X", "": "X"}, "one for all is the right kind too"
    quic = replace(GATEWAY, http3=True)
    assert [it.chain_pem for it in served(quic, (), {}, {ALL_NAMES: ("old", "k")})] == ["old"]


def test_a_wildcard_is_wanted_where_a_hook_proves_it_and_shown_by_every_name_of_its_domain() -> None:
    names = names_of(HOOKED, ["web"])
    assert wanted(HOOKED, names) == ("*.example.com", "*.old.org")
    assert wanted(GATEWAY, names) == names
    pairs = {"*.example.com": ("W", "k"), "web.example.com": ("own", "k"), "web.old.org": ("own", "k")}
    assert {it.name: it.chain_pem for it in served(HOOKED, names, pairs, {})} == {
        "": "W",
        "gateway.example.com": "W",
        "web.example.com": "W",
        "web.old.org": "own",
    }
    assert {it.name: it.chain_pem for it in served(GATEWAY, ("web.example.com", "a.example.com"), pairs, {})} == {
        "": "own",
        "web.example.com": "own",
        "a.example.com": "W",
    }


def test_http3_shows_one_certificate_to_everybody() -> None:
    quic = replace(GATEWAY, http3=True)
    assert wanted(quic, ("web.example.com",)) == ("web.example.com", "*.example.com")
    pairs = {"*.example.com": ("W", "k"), "web.example.com": ("own", "k")}
    assert {it.name: it.chain_pem for it in served(quic, ("web.example.com",), pairs, {})} == {
        "": "own",
        "web.example.com": "own",
        "*": "W",
    }
    assert [it.name for it in served(quic, (), {ALL_NAMES: ("X", "k")}, {})] == ["*"]
    assert [it.name for it in served(quic, ("a.example.com",), {"a.example.com": ("A", "k")}, {})] == [
        "a.example.com",
        "",
    ]
    assert wanted(replace(HOOKED, http3=True), ()) == ("*.example.com", "*.old.org")


def test_what_is_neither_shown_nor_kept_up_is_let_go_when_it_is_old() -> None:
    names = ("web.example.com",)
    old = replace(KEPT, name="was.example.com")
    assert unneeded(GATEWAY, names, (KEPT, old, replace(KEPT, name=CA)), 2000.0) == []
    assert unneeded(GATEWAY, names, (KEPT, old, replace(KEPT, name=CA)), 3000.0) == ["was.example.com"]
    assert unneeded(GATEWAY, names, (replace(old, chain_pem="", problem="no"),), 2000.0) == ["was.example.com"]


def test_a_try_is_later_and_later_but_never_later_than_a_day() -> None:
    assert [next_try_s(it, 0.0) for it in (1, 2, 3, 20, 5000)] == [60.0, 120.0, 240.0, MAX_WAIT_S, MAX_WAIT_S]
    assert (next_try_s(1, 0.0, 3600.0), next_try_s(1, 0.0, 1e9)) == (3600.0, MAX_WAIT_S)


@pytest.mark.parametrize(("next_s", "now_s", "expected"), [(90.0, 50.0, True), (90.0, 90.0, False), (9e9, 50.0, False)])
def test_it_is_waited_for_unless_a_wrong_clock_wrote_it(next_s: float, now_s: float, expected: bool) -> None:
    failed = replace(KEPT, next_try_s=next_s)
    assert is_waited_for(failed, "self-signed", now_s) is expected
    assert not is_waited_for(failed, "another", now_s)


def test_one_of_our_own_that_is_early_was_made_by_a_wrong_clock_unless_its_ca_is_early_too() -> None:
    ca = replace(KEPT, name=CA, not_before_s=500.0, not_after_s=1e9)
    assert not is_due(KEPT, "self-signed", 1000.0 - CLOCK_S, ca)
    assert is_due(KEPT, "self-signed", 600.0, ca)
    assert not is_due(KEPT, "self-signed", 1.0, ca), "the clock of now is wrong"
    assert trouble(ca, 1.0) == "its CA is not valid yet: is the server's clock right?"
    assert ca_of((KEPT, ca), GATEWAY) == [ca]
    assert ca_of((KEPT, ca), HOOKED) == []


def test_an_authority_is_not_asked_again_because_our_clock_went_back() -> None:
    issued = replace(KEPT, source="https://ca/dir")
    assert not is_due(issued, "https://ca/dir", 1.0)
    assert is_due(issued, "https://ca/dir", 3000.0)
    assert "is the server's clock right?" in trouble(issued, 1.0)


def test_what_was_made_for_another_source_and_the_ca_are_not_shown() -> None:
    others = (replace(KEPT, name=CA), replace(KEPT, source="files"), replace(KEPT, gateway="lab"))
    assert sources((KEPT, *others), GATEWAY) == [KEPT]


def test_a_key_is_in_no_text() -> None:
    assert "hush" not in repr(ServedCertificate("a", "b", "hush")) + repr(replace(KEPT, key=b"hush"))
