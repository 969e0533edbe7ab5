"""Makes the Python modules and type stubs from the .proto files, and the comments there as data: the only way to make them.

`python -m homeport_protos.generate` writes them in place; `--check` writes nothing, compares with what is
committed and exits 1 when they differ (scripts/check runs it). The path of a .proto file is its Python path, so no
import is rewritten.
"""

import argparse
import filecmp
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
COMMENTS = (
    "homeport_protos/comments.json"  # by full name; no module has them at run time, and the OpenAPI document wants them
)
PUBLIC = ("homeport_protos.api.", "homeport_protos.common.")  # what that document tells of


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
        f"--descriptor_set_out={out / 'descriptors'}",
        "--include_source_info",
    ]
    code = protoc.main(["protoc", f"-I{ROOT}", f"-I{include}", *plugins, *outputs, *protos])
    if code != 0:
        sys.exit(f"protoc failed with {code}")
    found = dict(comments((out / "descriptors").read_bytes()))
    (out / "descriptors").unlink()
    (out / COMMENTS).write_text(json.dumps(found, indent=0, sort_keys=True, ensure_ascii=False) + "\n")


def comments(descriptors: bytes) -> Iterator[tuple[str, str]]:
    """What stands beside or above each message, field, enum, value and method, on one line, by its full name."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    for file in FileDescriptorSet.FromString(descriptors).file:
        if not file.package.startswith(PUBLIC):
            continue
        for location in file.source_code_info.location:
            text = " ".join((location.leading_comments + " " + location.trailing_comments).split())
            name = _name_at(file, list(location.path))
            if text and name:
                yield f"{file.package}.{name}", text


def _name_at(file: Any, path: list[int]) -> str:
    """A location's path is pairs of a field's number and an index: of the file, then of what stands there."""
    here, names = file, []
    while len(path) >= 2:
        field = here.DESCRIPTOR.fields_by_number[path[0]]
        if not field.is_repeated or field.message_type is None:
            return ""
        here = getattr(here, field.name)[path[1]]
        names.append(getattr(here, "name", ""))
        path = path[2:]
    return "" if path or not all(names) else ".".join(names)


def stale(fresh: Path) -> list[str]:
    """Names of generated files that differ from the committed ones, or exist on one side only."""
    made = {str(path.relative_to(fresh)) for path in fresh.rglob("*_pb2*")}
    kept = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*_pb2*") if path.suffix in {".py", ".pyi"}}
    differing = {name for name in made & kept if not filecmp.cmp(fresh / name, ROOT / name, shallow=False)}
    if not (ROOT / COMMENTS).exists() or not filecmp.cmp(fresh / COMMENTS, ROOT / COMMENTS, shallow=False):
        differing.add(COMMENTS)
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
