"""Leaving a fleet: what an agent that was removed takes away, and what it forgets.

Containers and Envoy go first, by the ways in which they always go; only then is the identity forgotten, so that one that is
cut off in between is told again. Named volumes stay on the disk: they are somebody's data.
"""

import logging
import shutil
from pathlib import Path

from homeport_agent.envoy.gateways import stop_all
from homeport_agent.files import sync_folder

log = logging.getLogger("homeport.agent")

# What the rooms of this agent keep in its state directory, the identity last.
KEPT = ("journal.json", "health.json", "logs", "code", "envoy", "identity")


def forget(state_dir: Path) -> None:
    """Afterwards this host has not joined anybody. Raises OSError when the identity cannot be removed."""
    stop_all(state_dir)  # one that was there before this process saw it
    for name in KEPT[:-1]:
        path = state_dir / name
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s cannot be removed: %s", path, error.strerror)
    shutil.rmtree(state_dir / KEPT[-1])
    sync_folder(state_dir)
