"""Makes the Python modules and type stubs from the .proto files: the only way to make them.

`python -m homeport_protos.generate` writes them in place; `--check` writes nothing, compares with what is
committed and exits 1 when they differ (scripts/check runs it). The path of a .proto file is its Python path, so no
import is rewritten.
"""

import argparse
import filecmp
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def generate(out: Path) -> None:
    """Write all modules under out, laid out like ROOT."""
    from grpc_tools import protoc  # a development dependency: not there at run time

    protos = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.proto"))
    include = Path(protoc.__file__).parent / "_proto"
    plugins = [f"--plugin={path}" for path in sorted((Path(sys.prefix) / "bin").glob("protoc-gen-mypy*"))]
    outputs = [
        f"--python_out={out}",
        f"--mypy_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_grpc_out=only_async:{out}",
    ]
    code = protoc.main(["protoc", f"-I{ROOT}", f"-I{include}", *plugins, *outputs, *protos])
    if code != 0:
        sys.exit(f"protoc failed with {code}")


def stale(fresh: Path) -> list[str]:
    """Names of generated files that differ from the committed ones, or exist on one side only."""
    made = {str(path.relative_to(fresh)) for path in fresh.rglob("*_pb2*")}
    kept = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*_pb2*") if path.suffix in {".py", ".pyi"}}
    differing = {name for name in made & kept if not filecmp.cmp(fresh / name, ROOT / name, shallow=False)}
    return sorted((made ^ kept) | differing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 when the committed files are stale")
    if not parser.parse_args().check:
        generate(ROOT)
        return
    with tempfile.TemporaryDirectory() as directory:
        generate(Path(directory))
        names = stale(Path(directory))
    if names:
        sys.exit("stale generated files, run `python -m homeport_protos.generate`: " + ", ".join(names))


if __name__ == "__main__":
    main()
