"""What health remembers, on disk: a GPU that fell off the bus is still listed, and failing, after a restart of the agent.

Covers the file: what of a memory is kept, writing and reading it back. No secrets are in it. A file that cannot be read is
moved aside, with a line in the log: what can be seen is found again.
"""

import dataclasses
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from homeport_agent.gpus.model import Finding, Gpu, GpuNear, Severity
from homeport_agent.health.model import Condition, Flaps, KnownGpu, Memory, Sign, Trial

log = logging.getLogger("homeport.agent")

FORMAT = 1


def kept(memory: Memory) -> Memory:
    """Without what is another at each look, so that the disk is written only when something happened."""
    return replace(memory, gpus=tuple(map(_kept_gpu, memory.gpus)), host=_kept(memory.host), looked_s=0.0)


def _kept_gpu(it: KnownGpu) -> KnownGpu:
    gpu = replace(it.gpu, memory_used_mib=0, processes=())
    return replace(it, gpu=gpu, is_seen=False, good_s=0.0, conditions=_kept(it.conditions), marks=())


def _kept(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Findings only, with the length that made them such."""
    found = []
    for it in conditions:
        if it.severity is None:
            continue
        late_s = it.sign.failing_after_s
        held_s = late_s if late_s is not None and it.severity is Severity.FAILING else it.sign.after_s
        # An XID's warning lasts a day: an hour more or less is not worth a write, a restart that begins it anew is.
        found.append(replace(it, held_s=held_s, gone_s=it.gone_s // 3600 * 3600))
    return tuple(found)


def read(path: Path) -> Memory:
    """What was kept; an empty one when there is nothing, or nothing that can be read."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return Memory()
    except OSError as error:
        log.warning("what is known of the GPUs (%s) cannot be read: %s; going on without it", path, error.strerror)
        return Memory()
    try:
        return decode(text)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        aside = path.with_suffix(".broken")
        path.replace(aside)
        log.warning("what is known of the GPUs was broken (%s): moved to %s; they are looked at anew", error, aside)
        return Memory()


def encode(memory: Memory) -> bytes:
    return json.dumps({"format": FORMAT, **dataclasses.asdict(kept(memory))}, indent=1).encode()


def decode(text: bytes) -> Memory:
    """Raises ValueError, TypeError, KeyError or AttributeError on anything that `encode` does not write."""
    document = json.loads(text)
    if document["format"] != FORMAT:
        raise ValueError(f"format {document['format']}, this agent knows {FORMAT}")
    return Memory(
        gpus=tuple(_gpu(row) for row in document["gpus"]),
        host=tuple(_condition(row) for row in document["host"]),
        loose=tuple(_finding(row) for row in document["loose"]),
    )


def _gpu(row: dict[str, Any]) -> KnownGpu:
    near = tuple(GpuNear(**it) for it in row["gpu"]["near"])
    flaps = {**row["flaps"], "backs_s": tuple(row["flaps"]["backs_s"])}
    return KnownGpu(
        gpu=Gpu(**{**row["gpu"], "near": near, "processes": ()}),
        latched=tuple(_finding(it) for it in row["latched"]),
        conditions=tuple(_condition(it) for it in row["conditions"]),
        xids=tuple((int(code), float(at_s)) for code, at_s in row["xids"]),
        ecc_uncorrected=row["ecc_uncorrected"],
        flaps=Flaps(**flaps),
        trial=Trial(**row["trial"]),
    )


def _finding(row: dict[str, Any]) -> Finding:
    return Finding(**{**row, "severity": Severity(row["severity"])})


def _condition(row: dict[str, Any]) -> Condition:
    sign = Sign(**{**row["sign"], "severity": Severity(row["sign"]["severity"])})
    return Condition(**{**row, "sign": sign})
