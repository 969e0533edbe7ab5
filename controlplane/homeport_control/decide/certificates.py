"""Which certificates a gateway needs, and when one is due to be replaced. PURE.

A certificate is replaced when two thirds of its life are over and when it was made for another kind of source. One that we
sign ourselves is also when its life has not begun (a clock was wrong when it was made), unless that of its CA has not either:
then it is the clock of now that is wrong, and what is there is better than what it would make. An authority does not sign by
our clock, so asking it again would change nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence

from homeport_control.domain.certificates import ALL_NAMES, CA, LETS_ENCRYPT, NO_SERVER, Kept
from homeport_control.domain.gateway import MODELS_LABEL, Certificate, Gateway, ServedCertificate

LIFE_USED = 2 / 3
CLOCK_S = 60.0  # by this much a clock may go back without consequence
MAX_WAIT_S = 86400.0  # after a failure; a later next try was written by a clock that was wrong


def names_of(gateway: Gateway, runs: Iterable[str]) -> tuple[str, ...]:
    """Every name by which HTTPS is spoken at it, the models' first. `runs`: those that are published by HTTPS."""
    labels = [MODELS_LABEL, *sorted(runs)]
    return tuple(f"{label}.{domain}" for domain in _domains(gateway) for label in labels)


def _domains(gateway: Gateway) -> list[str]:
    return [domain for domain in (gateway.domain, gateway.old_domain) if domain]


def wanted(gateway: Gateway, names: Sequence[str]) -> tuple[str, ...]:
    """What there must be a certificate for, so that every one of `names` is served: each, or one for all by a wildcard.

    HTTP/3 needs one for all in any case.
    """
    wildcards = tuple(f"*.{domain}" for domain in _domains(gateway))
    if gateway.certificate.hook:
        return wildcards
    return (*names, *wildcards[:1]) if gateway.http3 else tuple(names)


def due_at_s(kept: Kept) -> float:
    return kept.not_before_s + LIFE_USED * (kept.not_after_s - kept.not_before_s)


def is_due(kept: Kept | None, source: str, now_s: float, ca: Kept | None = None) -> bool:
    """`ca`: which signs it, where that is ours."""
    if kept is None or not kept.chain_pem or kept.source != source:
        return True
    return now_s >= due_at_s(kept) or (ca is not None and _is_early(kept, now_s) and not _is_early(ca, now_s))


def _is_early(kept: Kept, now_s: float) -> bool:
    return now_s < kept.not_before_s - CLOCK_S


def is_waited_for(kept: Kept | None, source: str, now_s: float) -> bool:
    """It is due, and not asked for yet: the last try was not long ago."""
    return kept is not None and kept.source == source and now_s < kept.next_try_s <= now_s + MAX_WAIT_S


def source_of(certificate: Certificate) -> str:
    """What a certificate must have been made for to be the right one."""
    if certificate.type in {"acme", "lets-encrypt"}:
        return certificate.directory or LETS_ENCRYPT
    return certificate.type


def next_try_s(failures: int, now_s: float, wait_s: float = 0.0) -> float:
    """After so many failures in a row: a minute, doubling to a day. Let's Encrypt takes 5 failures an hour for one name."""
    return now_s + min(max(wait_s, 60.0 * 2.0 ** min(failures - 1, 20)), MAX_WAIT_S)


def trouble(kept: Kept, now_s: float) -> str:
    """What is wrong with it; empty: nothing."""
    who = {ALL_NAMES: "its certificate", CA: "its CA"}.get(kept.name, f"its certificate for {kept.name}")
    parts = []
    if kept.chain_pem and not kept.problem and is_waited_for(kept, kept.source, now_s):
        parts.append(f"{who} has just come and is old by the server's clock: is that right? It is served all the same")
    elif kept.chain_pem and now_s >= kept.not_after_s:
        hours = (now_s - kept.not_after_s) / 3600
        parts.append(f"{who} has expired {hours:.0f} h ago and is served all the same")
    elif kept.chain_pem and _is_early(kept, now_s):
        parts.append(f"{who} is not valid yet: is the server's clock right?")
    if kept.problem:
        parts.append(f"{who} is not replaced: {kept.problem}" if kept.chain_pem else f"{who}: {kept.problem}")
    return "; ".join(parts)


Pairs = dict[str, tuple[str, str]]  # chain and opened key, by whom they are for


def served(gateway: Gateway, names: Sequence[str], pairs: Pairs, before: Pairs) -> Iterator[ServedCertificate]:
    """What Envoy shows by each name, to who says none, and by HTTP/3.

    `before`: of another kind than the gateway's file says now. They are shown by names for which there is none of the right
    kind yet: who changes the kind, or an authority that takes its time, leaves no name without any.
    """
    for name in names:
        pair = _pair(gateway, name, pairs) or _pair(gateway, name, before)
        if pair:
            yield ServedCertificate(name, *pair)
            if name == names[0]:
                yield ServedCertificate("", *pair)
    ends = (f"*.{gateway.domain}", ALL_NAMES)
    for_all = next((there[it] for there in (pairs, before) for it in ends if it in there), None)
    if gateway.http3 and for_all:
        yield ServedCertificate(ALL_NAMES, *for_all)


def _pair(gateway: Gateway, name: str, there: Pairs) -> tuple[str, str] | None:
    return there.get(_found_under(gateway, name, there))


def _found_under(gateway: Gateway, name: str, there: Collection[str]) -> str:
    """Which of those that are there is shown by this name: the kind that is kept up, else what is left of the other."""
    both = [name, f"*.{name.partition('.')[2]}"]
    order = [*(reversed(both) if gateway.certificate.hook else both), ALL_NAMES]
    return next((it for it in order if it in there), "")


def unneeded(gateway: Gateway, names: Sequence[str], mine: Iterable[Kept], now_s: float) -> list[str]:
    """Those that nothing is served with and that are not kept up. A name that comes back finds its own until it is due."""
    known = {it.name: it for it in mine if it.name not in NO_SERVER}
    source = source_of(gateway.certificate)
    there = [it.name for it in known.values() if it.chain_pem and it.source == source]
    used = {_found_under(gateway, name, there) for name in names} | set(wanted(gateway, names))
    return [it.name for it in known.values() if it.name not in used and is_due(it, source, now_s)]


def sources(kept: Iterable[Kept], gateway: Gateway) -> list[Kept]:
    """Those of the gateway's kind of source, its own CA and its account left out."""
    return [it for it in _all(kept, gateway) if it.source == source_of(gateway.certificate)]


def of_before(kept: Iterable[Kept], gateway: Gateway) -> list[Kept]:
    """Those of another kind, from before its file was changed."""
    return [it for it in _all(kept, gateway) if it.source != source_of(gateway.certificate)]


def _all(kept: Iterable[Kept], gateway: Gateway) -> list[Kept]:
    return [it for it in kept if it.gateway == gateway.name and it.name not in NO_SERVER]


def ca_of(kept: Iterable[Kept], gateway: Gateway) -> list[Kept]:
    """Its own CA, if that signs its certificates."""
    mine = [it for it in kept if it.gateway == gateway.name and it.name == CA]
    return mine if gateway.certificate.type == "self-signed" else []
