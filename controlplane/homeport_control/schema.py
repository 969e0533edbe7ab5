"""Makes cli/homeport_cli/homeport.schema.json, which `homeport schema` prints: the command line cannot import the language.

`python -P -m homeport_control.schema` writes it; `--check` writes nothing, and exits 1 when it is stale (scripts/check runs
it). For a checkout of the sources; the schema itself is made by `spec.json_schema`.
"""

import argparse
import json
import sys
from pathlib import Path

from homeport_control.spec.json_schema import schema

FILE = Path(__file__).resolve().parents[2] / "cli" / "homeport_cli" / "homeport.schema.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 when the committed file is stale")
    made = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    if not parser.parse_args().check:
        FILE.write_text(made)
    elif not FILE.exists() or FILE.read_text() != made:
        sys.exit(f"{FILE.name} is stale, run `python -P -m homeport_control.schema`")


if __name__ == "__main__":
    main()
