"""The committed protobuf modules are those that the .proto files make, and the language number has a dated line each."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_committed_protobuf_modules_are_fresh() -> None:
    command = [sys.executable, "-P", "-m", "homeport_protos.generate", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_every_enum_of_the_protocol_starts_with_an_unspecified_zero() -> None:
    offenders = []
    for path in sorted((ROOT / "protos").rglob("*.proto")):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if line.strip().startswith("enum "):
                first = next(text for text in lines[number + 1 :] if "=" in text.split("//")[0])
                if "_UNSPECIFIED = 0" not in first:
                    offenders.append(f"{path.name}: {line.strip()}")
    assert not offenders
