#!/usr/bin/python3
"""Stands in for nvidia-container-runtime-hook: an OCI prestart hook, called with the container's state on its stdin.

Writes down which GPUs the container's environment names, refuses what it does not know, and what has fallen off the bus, in
the words of NVIDIA's own tool. Where: the folder FAKE_HOOK of dockerd's environment. There lie `gpus` (UUIDs), `broken` (what
to say instead of giving anything), `*.conf` (links to the states of fake GPUs, see nvml/gpus.py) and `given.jsonl`, which it
writes. It gives nothing into the container.
"""

import json
import os
import sys
from pathlib import Path


def known(folder: Path) -> dict[str, str]:
    """UUID to what is wrong with it, in NVIDIA's words; of all tests that run now."""
    listed = folder / "gpus"
    found = dict.fromkeys(listed.read_text().split(), "") if listed.exists() else {}
    for link in folder.glob("*.conf"):
        try:
            state = dict(line.partition("=")[::2] for line in link.read_text().splitlines())
        except FileNotFoundError:
            continue  # of a test that was killed
        for key, uuid in state.items():
            if key.endswith(".uuid"):
                gpu = key.split(".")[0]
                is_lost = state.get(f"{gpu}.lost", "0") != "0"
                found[uuid] = "detection error: nvml error: gpu is lost" if is_lost else ""
    return found


def main() -> None:
    folder = Path(os.environ["FAKE_HOOK"])
    state = json.load(sys.stdin)
    config = json.loads((Path(state["bundle"]) / "config.json").read_text())
    # As the real one: the last of several wins.
    env = dict(line.split("=", 1) for line in config["process"]["env"] if "=" in line)
    visible = env.get("NVIDIA_VISIBLE_DEVICES", "")
    if visible in ("", "void"):
        return
    broken = folder / "broken"
    if broken.exists() and (words := broken.read_text()):
        sys.exit(f"nvidia-container-cli: {words}")
    gpus = known(folder)
    for uuid in visible.split(","):
        if uuid not in gpus:
            sys.exit(f"nvidia-container-cli: device error: {uuid}: unknown device")
        if gpus[uuid]:
            sys.exit(f"nvidia-container-cli: {gpus[uuid]}")
    with (folder / "given.jsonl").open("a") as given:
        given.write(json.dumps({"id": state["id"], "visible": visible}) + "\n")


if __name__ == "__main__":
    main()
