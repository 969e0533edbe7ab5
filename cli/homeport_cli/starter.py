"""The configuration that `homeport init` writes. A line `#key: value` is one to switch on; `# words` are words.

What it does not cover: what the keys mean beyond a few words; the server alone knows the language. A test holds that it takes
the file as it is, and with all lines switched on.
"""

import re
import shlex
from pathlib import Path

from homeport_cli.errors import CliError, UsageError

NAME = "service.homeport.yml"
OTHERS = ("*.homeport.yml", "*.dstack.yml", ".homeport.yml", ".dstack.yml")

TEXT = """\
# A service of Homeport. `homeport apply` shows what would happen, asks, and runs it.
type: service
name: {name}

# What runs: an image, and what is started in it. Without `commands` the image's own command runs.
image: python:3.12-slim
commands:
  - python -m http.server 8000

# The port that it listens on. It is published at http://{name}.localhost:7480, with a token.
port: 8000

# Values for it. One without a value is taken from where `homeport apply` is called; none is ever shown.
#env:
#  - LOG_LEVEL=info
#  - HF_TOKEN

# What each replica needs; ranges are written 2.. or 16GB..64GB.
#resources:
#  cpu: 2..
#  memory: 4GB..
#  gpu: 24GB

# How many run. An update replaces them one by one, so that nobody notices.
#replicas: 2

# What must answer before a replica gets requests; without, a TCP connection to the port.
#probes:
#  - type: http
#    url: /

# Folders of the host, or named volumes, that outlive the container.
#volumes:
#  - /srv/{name}:/data

# Whether callers need a token: `homeport token create app --role service`.
#auth: true

# How long open requests may take when a replica is stopped.
#stop_duration: 1m
"""


def write(folder: Path) -> Path:
    """Write the file into `folder`, named after it. Raises UsageError when it is there already, CliError."""
    file = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("x") as opened:
            opened.write(TEXT.format(name=run_name(folder.resolve().name)))
    except FileExistsError:
        if folder.is_dir():
            raise UsageError(f"{file} is there already: nothing was written") from None
        raise UsageError(f"{folder} is no folder: nothing was written") from None
    except OSError as error:
        raise CliError(f"cannot write {file}: {error.strerror}") from None
    return file


def run_name(folder: str) -> str:
    """A name that a run may have, after the folder's."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")
    name = re.sub(r"^[^a-z]+", "", name)[:41].strip("-")
    return name if len(name) > 1 else "web"


def next_steps(file: Path) -> list[str]:
    """What to type now. `-f` where the folder holds other configurations too."""
    folder = file.parent
    alone = len({found for pattern in OTHERS for found in folder.glob(pattern)}) == 1
    steps = [] if folder.resolve() == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]
    steps.append("homeport apply" if alone else f"homeport apply -f {NAME}")
    return [f"Wrote {file}. Change it, then run:", *(f"  {step}" for step in steps)]
