"""The certificates of gateways: made by their own CA, or read from files, before they are needed and before they end.

Covers `self-signed` and `files`. What is kept stays until something better is there: a file that is gone or broken, a
certificate that has expired, leave the last one in place, with the reason.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from homeport_control.decide.certificates import due_at_s, is_due, names_of, wanted
from homeport_control.decide.gateways import choose
from homeport_control.domain.certificates import ALL_NAMES, CA, Kept
from homeport_control.domain.errors import BadRequest
from homeport_control.domain.gateway import Gateway
from homeport_control.domain.services import Run
from homeport_control.loops.loop import Turn
from homeport_control.spec.service import spec_from_json
from homeport_control.store import certificates, events, gateways, runs
from homeport_control.store.connect import Database
from homeport_control.trust import gateway_ca
from homeport_control.trust.ca import KeyPair
from homeport_control.trust.sealing import Sealer

FILES_S = 2.0  # how often files are looked at
MAX_FILE_BYTES = 1 << 20


class CertificatesLoop:
    topics = ("gateways", "runs")

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer
        self._seen: dict[str, tuple[object, ...]] = {}  # by gateway: the state of its files that was read

    async def turn(self, now_s: float) -> Turn:
        async with self._database.read() as connection:
            there = await gateways.list_all(connection)
            active = await runs.list_unsettled(connection)
            kept = await certificates.list_all(connection)
        count, wakes = 0, []
        published = names_by_gateway(there, active)
        for gateway in there:
            mine = {it.name: it for it in kept if it.gateway == gateway.name}
            if gateway.certificate.type == "self-signed":
                count += await self._sign(gateway, wanted(gateway, published[gateway.name]), mine, now_s)
                wakes += [due_at_s(it) for it in mine.values() if it.name != CA]
            elif gateway.certificate.type == "files":
                count += await self._read(gateway, mine.get(ALL_NAMES))
                wakes.append(time.time() + FILES_S)
        sentence = f"{count} certificates were made or read" if count else "all certificates are as they should be"
        return Turn(sentence, min((it for it in wakes if it > now_s), default=None))

    async def _sign(self, gateway: Gateway, names: Iterable[str], mine: Mapping[str, Kept], now_s: float) -> int:
        due = [name for name in names if is_due(mine.get(name), "self-signed", now_s, mine.get(CA))]
        gone = [name for name in mine if name not in names and name != CA]
        if not due and not gone:
            return 0
        ca = mine.get(CA)
        if ca is None:
            pair = await asyncio.to_thread(gateway_ca.new_ca, gateway.name, now_s)
            ca = self._kept(gateway, CA, pair)
        else:
            pair = KeyPair(ca.chain_pem.encode(), self._sealer.open(ca.key).encode())
        made = [self._kept(gateway, name, await asyncio.to_thread(gateway_ca.issue, pair, name, now_s)) for name in due]
        async with self._database.write() as write:
            if await gateways.get(write.connection, gateway.name) is None:
                return 0
            for it in (ca, *made):
                await certificates.put(write, it)
            await certificates.remove(write, gateway.name, gone)
        return len(made)

    async def _read(self, gateway: Gateway, known: Kept | None) -> int:
        """1 when there is something new to show or to tell."""
        paths = Path(gateway.certificate.cert), Path(gateway.certificate.key)
        state = await asyncio.to_thread(_state, *paths)
        if known is not None and known.source == "files" and self._seen.get(gateway.name) == state:
            return 0
        try:
            chain, key = await asyncio.to_thread(_contents, *paths)
            fresh = self._kept(gateway, ALL_NAMES, KeyPair(chain, key))
        except BadRequest as error:
            fresh = replace(known or Kept(gateway.name, ALL_NAMES, "files"), source="files", problem=str(error))
        self._seen[gateway.name] = state
        # Sealing gives other bytes each time.
        if known is not None and replace(fresh, key=b"") == replace(known, key=b""):
            return 0
        async with self._database.write() as write:
            if await gateways.get(write.connection, gateway.name) is None:
                return 0
            await certificates.put(write, fresh)
            what = (
                f"keeps its certificate: {fresh.problem}" if fresh.problem else "has a new certificate from its files"
            )
            sentence = f"gateway {gateway.name} {what}"
            events.record(write, kind="gateway", object_id=gateway.name, name=gateway.name, sentence=sentence)
        return 1

    def _kept(self, gateway: Gateway, name: str, pair: KeyPair) -> Kept:
        """Raises BadRequest."""
        validity = gateway_ca.checked(pair.certificate_pem, pair.key_pem)
        return Kept(
            gateway.name,
            name,
            gateway.certificate.type,
            pair.certificate_pem.decode(),
            self._sealer.seal(pair.key_pem.decode()),
            validity.not_before_s,
            validity.not_after_s,
        )


def names_by_gateway(there: Iterable[Gateway], active: Iterable[Run]) -> dict[str, tuple[str, ...]]:
    """The names that each gateway serves by HTTPS."""
    known = list(there)
    found: dict[str, list[str]] = {gateway.name: [] for gateway in known}
    for run in active:
        spec = spec_from_json((run.current or run.newest).spec_json)
        home = choose(spec.gateway, known)
        if run.ended_at_s is None and home is not None and spec.https is not False:
            found[home.name].append(run.name)
    return {gateway.name: names_of(gateway, found[gateway.name]) for gateway in known if gateway.has_tls} | {
        gateway.name: () for gateway in known if not gateway.has_tls
    }


def _state(*paths: Path) -> tuple[object, ...]:
    """Changes when a file does, also when it is replaced, or is a link to another (as certbot's are)."""
    found: list[object] = []
    for path in paths:
        try:
            seen = path.stat()
            found.append((str(path), seen.st_ino, seen.st_mtime_ns, seen.st_size))
        except OSError as error:
            found.append((str(path), error.errno))
    return tuple(found)


def _contents(*paths: Path) -> list[bytes]:
    """Raises BadRequest."""
    found = []
    for path in paths:
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise BadRequest(f"{path} cannot be read on the server's machine: {error.strerror}") from None
        if len(content) > MAX_FILE_BYTES:
            raise BadRequest(f"{path} is larger than 1 MB: that is no certificate")
        found.append(content)
    return found
