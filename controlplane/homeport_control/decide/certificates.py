"""Which certificates a gateway needs, and when one is due to be replaced. PURE.

A certificate is replaced when two thirds of its life are over, when its life has not begun (a clock that went back), and
when it was made for another kind of source.
"""

from collections.abc import Iterable, Iterator, Sequence

from homeport_control.domain.certificates import ALL_NAMES, LETS_ENCRYPT, NO_SERVER, Kept
from homeport_control.domain.gateway import MODELS_LABEL, Certificate, Gateway, ServedCertificate

LIFE_USED = 2 / 3
CLOCK_S = 60.0  # by this much a clock may go back without consequence


def names_of(gateway: Gateway, runs: Iterable[str]) -> tuple[str, ...]:
    """Every name by which HTTPS is spoken at it, the models' first. `runs`: those that are published by HTTPS."""
    labels = [MODELS_LABEL, *sorted(runs)]
    domains = [domain for domain in (gateway.domain, gateway.old_domain) if domain]
    return tuple(f"{label}.{domain}" for domain in domains for label in labels)


def due_at_s(kept: Kept) -> float:
    return kept.not_before_s + LIFE_USED * (kept.not_after_s - kept.not_before_s)


def is_due(kept: Kept | None, source: str, now_s: float) -> bool:
    if kept is None or not kept.chain_pem or kept.source != source:
        return True
    return now_s >= due_at_s(kept) or now_s < kept.not_before_s - CLOCK_S


def source_of(certificate: Certificate) -> str:
    """What a certificate must have been made for to be the right one."""
    if certificate.type in {"acme", "lets-encrypt"}:
        return certificate.directory or LETS_ENCRYPT
    return certificate.type


def next_try_s(failures: int, now_s: float, wait_s: float = 0.0) -> float:
    """After so many failures in a row: a minute, doubling to a day. Let's Encrypt takes 5 failures an hour for one name."""
    return now_s + max(wait_s, min(60.0 * 2.0 ** min(failures - 1, 20), 86400.0))


def trouble(kept: Kept, now_s: float) -> str:
    """What is wrong with it; empty: nothing."""
    who = "its certificate" if kept.name == ALL_NAMES else f"its certificate for {kept.name}"
    parts = []
    if kept.chain_pem and now_s >= kept.not_after_s:
        hours = (now_s - kept.not_after_s) / 3600
        parts.append(f"{who} has expired {hours:.0f} h ago and is served all the same")
    elif kept.chain_pem and now_s < kept.not_before_s - CLOCK_S:
        parts.append(f"{who} is not valid yet: is the server's clock right?")
    if kept.problem:
        parts.append(f"{who} is not replaced: {kept.problem}" if kept.chain_pem else f"{who}: {kept.problem}")
    return "; ".join(parts)


def served(names: Sequence[str], pairs: dict[str, tuple[str, str]]) -> Iterator[ServedCertificate]:
    """What Envoy shows by each name, and to who says none. `pairs`: chain and opened key, by the name that they are for."""
    for name in names:
        pair = pairs.get(name) or pairs.get(ALL_NAMES)
        if pair is not None:
            yield ServedCertificate(name, *pair)
            if name == names[0]:
                yield ServedCertificate("", *pair)


def sources(kept: Iterable[Kept], gateway: Gateway) -> list[Kept]:
    """Those of the gateway's kind of source, its own CA and its account left out."""
    mine = [it for it in kept if it.gateway == gateway.name and it.name not in NO_SERVER]
    return [it for it in mine if it.source == source_of(gateway.certificate)]
