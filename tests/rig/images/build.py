"""Makes the tests' images out of files of this machine: no registry, no package archive, about two seconds.

  build.py            makes what is missing of: homeport-test/hello:1  (CPython, busybox and hello.py)
                                                homeport-test/busybox:1
  build.py --again    makes them anew

The Python image holds the interpreter that runs this script, its standard library, the shared libraries that they
name, and a static busybox (Debian's busybox-static) for the shell. It is for tests: nothing in it is pinned.
"""

import argparse
import hashlib
import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

DOCKER = "/usr/bin/docker"  # not the first of the PATH: that may be another client, left over from something else
BUSYBOX = Path("/bin/busybox")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
LEFT_OUT = {"test", "tests", "idlelib", "turtledemo", "tkinter", "ensurepip", "lib2to3", "__pycache__", "site-packages"}
HELLO = "homeport-test/hello:1"
SHELL = "homeport-test/busybox:1"


class Root:
    """A root file system that is written as a tar stream; `docker import` refuses a path that comes twice."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._tar = tarfile.open(fileobj=stream, mode="w|")  # noqa: SIM115 (closed by close)
        self._seen: set[str] = set()

    def copy(self, source: Path, target: str) -> None:
        if target not in self._seen:
            self._seen.add(target)
            self._tar.add(source.resolve(), target, recursive=False)

    def text(self, target: str, text: str) -> None:
        data = text.encode()
        entry = tarfile.TarInfo(target)
        entry.size, entry.mode = len(data), 0o644
        self._tar.addfile(entry, io.BytesIO(data))

    def link(self, name: str, to: str) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = tarfile.SYMTYPE, to
        self._tar.addfile(entry)

    def directory(self, name: str, mode: int) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        self._tar.addfile(entry)

    def close(self) -> None:
        self._tar.close()


def shared_libraries(binary: Path) -> Iterator[Path]:
    listing = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
    for match in re.finditer(r"(?:=> )?(/\S+) \(0x", listing):
        yield Path(match[1])


def add_shell(root: Root) -> None:
    root.copy(BUSYBOX, "bin/busybox")
    names = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        if name != "busybox":
            root.link(f"bin/{name}", "busybox")
    root.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    root.text("etc/group", "root:x:0:\nnogroup:x:65534:\n")
    root.directory("tmp", 0o1777)
    root.directory("root", 0o700)


def add_python(root: Root) -> None:
    base = Path(sys.base_prefix).resolve()
    interpreter = (base / "bin" / VERSION).resolve()
    library = standard_library()
    needed = set(shared_libraries(interpreter))
    for source in sorted(library.rglob("*")):
        relative = source.relative_to(library)
        if LEFT_OUT & set(relative.parts) or not source.is_file() or source.suffix in {".pyc", ".a"}:
            continue
        if any(part.startswith("config-") for part in relative.parts):
            continue
        root.copy(source, f"usr/local/lib/{VERSION}/{relative}")
        if ".so" in source.name:
            needed.update(shared_libraries(source))
    root.copy(interpreter, f"usr/local/bin/{VERSION}")
    for name in ("python3", "python"):
        root.link(f"usr/local/bin/{name}", VERSION)
    for path in sorted(needed):
        inside = path.resolve().is_relative_to(base) and base != Path("/usr")
        root.copy(path, f"usr/local/lib/{path.name}" if inside else str(path).lstrip("/"))
    for name in ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"):  # opened by name at run time
        path = Path("/lib/x86_64-linux-gnu") / name
        if path.exists():
            root.copy(path, str(path).lstrip("/"))
    root.text("etc/nsswitch.conf", "hosts: files dns\n")
    if CERTIFICATES.exists():
        root.copy(CERTIFICATES, str(CERTIFICATES).lstrip("/"))


def standard_library() -> Path:
    """Where the standard library of the real interpreter lies, asked from inside a virtual environment too."""
    return Path(io.__file__).resolve().parent


def make(tag: str, changes: list[str], with_python: bool) -> None:
    command = [DOCKER, "import", *(part for change in changes for part in ("-c", change)), "-", tag]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as importer:
        assert importer.stdin is not None
        root = Root(importer.stdin)  # type: ignore[arg-type]
        add_shell(root)
        if with_python:
            add_python(root)
            root.copy(Path(__file__).with_name("hello.py"), "hello.py")
        root.close()
        importer.stdin.close()
    if importer.returncode != 0:
        sys.exit(f"docker import of {tag} failed with {importer.returncode}")


def recipe() -> str:
    """Changes when an image would: it is kept in the image's environment, so that an old one is made again."""
    sources = [Path(__file__), Path(__file__).with_name("hello.py")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


def is_there(tag: str) -> bool:
    command = [DOCKER, "image", "inspect", "-f", "{{.Config.Env}}", tag]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.returncode == 0 and f"TEST_IMAGE={recipe()}" in answer.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="make the images even when they are there")
    again = parser.parse_args().again
    if not BUSYBOX.exists() or any(shared_libraries(BUSYBOX)):
        sys.exit("no static /bin/busybox here; install the package busybox-static")
    mark = f"TEST_IMAGE={recipe()}"
    python_env = (
        f"ENV {mark} PATH=/usr/local/bin:/bin LD_LIBRARY_PATH=/usr/local/lib"
        " PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1"
    )
    if again or not is_there(HELLO):
        make(HELLO, [python_env, "EXPOSE 8000", 'CMD ["python3", "/hello.py"]'], with_python=True)
        print(f"image {HELLO} is made")
    if again or not is_there(SHELL):
        make(SHELL, [f"ENV {mark} PATH=/bin", 'CMD ["sh"]'], with_python=False)
        print(f"image {SHELL} is made")


if __name__ == "__main__":
    main()
