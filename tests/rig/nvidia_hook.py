#!/usr/bin/python3
"""Stands in for nvidia-container-runtime-hook: an OCI prestart hook, called with the container's state on its stdin.

Writes down which GPUs the container's environment names, refuses what it does not know in the words of NVIDIA's own tool.
Where: the folder FAKE_HOOK of dockerd's environment (`gpus`, `broken`, `given.jsonl`). It gives nothing into the container.
"""

import json
import os
import sys
from pathlib import Path


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
    known = (folder / "gpus").read_text().split()
    for uuid in visible.split(","):
        if uuid not in known:
            sys.exit(f"nvidia-container-cli: device error: {uuid}: unknown device")
    with (folder / "given.jsonl").open("a") as given:
        given.write(json.dumps({"id": state["id"], "visible": visible}) + "\n")


if __name__ == "__main__":
    main()
