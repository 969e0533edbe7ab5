"""Other proxies for bench_rivals.py: where each comes from, its configuration for the same work, its start and its end.

Each lives in a folder of its own in a cache, by its version: a virtual environment, or Debian packages that are unpacked and
not installed. Covers no measuring. All listen on 127.0.0.1 alone, with one worker, and see nothing of the caller's environment.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import urllib.request
import venv
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from rig.ports import free_port

TOKEN = "sk-the-right-token"
START_TIMEOUT_S = 90
# The vocabulary that sglang-router loads at its start from OpenAI's storage when it has none; LiteLLM carries the same file.
VOCABULARY = ("o200k_base.tiktoken", "lib/*/site-packages/litellm/litellm_core_utils/tokenizers/fb374d41*")


class NotHere(Exception):
    """A rival that cannot be installed or started here; says what was tried and what came of it."""


@dataclass(frozen=True)
class Place:
    """What a configuration needs to know."""

    root: Path  # where it is installed
    folder: Path  # where it may write
    port: int
    models: dict[str, int]  # model: its upstream's port; the first takes what names no model


@dataclass(frozen=True)
class Launch:
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    workers: bool = False  # it is told of its upstreams by POST /workers


@dataclass(frozen=True)
class Rival:
    name: str
    version: str
    packages: tuple[str, ...]
    launch: Callable[[Place], Launch]
    get_does: str = ""  # what it does with a GET and a chat completion beyond passing them on
    chat_does: str = ""
    get: str = ""  # the path of a plain GET, "" when it has none
    chat: bool = True  # sends a chat completion by its body's model
    debian: bool = False


@dataclass
class Running:
    rival: Rival
    port: int
    pid: int


def nginx(place: Place) -> Launch:
    first = next(iter(place.models.values()))
    config = place.folder / "nginx.conf"
    temporary = "".join(f"{kind}_temp_path {place.folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi"))
    temporary += "".join(f"{kind}_temp_path {place.folder}/{kind};\n" for kind in ("uwsgi", "scgi"))
    config.write_text(
        f"""daemon off; worker_processes 1; pid {place.folder}/pid; error_log {place.folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    {temporary}
    access_log {place.folder}/access.log combined buffer=64k flush=250ms;
    keepalive_requests 1000000000;
    upstream first {{ server 127.0.0.1:{first}; keepalive 128; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{place.port};
        proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 1h;
        location / {{ proxy_pass http://first; }}
        location /stream {{ proxy_pass http://first; proxy_buffering off; }}
    }}
}}
"""
    )
    return Launch([str(place.root / "usr/sbin/nginx"), "-e", str(place.folder / "error.log"), "-c", str(config)])


def haproxy(place: Place) -> Launch:
    tokens, config = place.folder / "tokens", place.folder / "haproxy.cfg"
    hashes = [
        hashlib.sha256(f"Bearer {token}".encode()).hexdigest().upper() for token in (TOKEN, *map(str, range(1000)))
    ]
    tokens.write_text("\n".join(hashes) + "\n")
    backends = "".join(f"backend {model}\n    server one 127.0.0.1:{port}\n" for model, port in place.models.items())
    config.write_text(
        f"""global
    nbthread 1
    maxconn 4096
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    option http-no-delay
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend all
    bind 127.0.0.1:{place.port}
    http-request deny deny_status 401 if METH_POST !{{ req.hdr(authorization),sha2(256),hex -m str -f {tokens} }}
    http-request wait-for-body time 10s if METH_POST
    http-request set-var(txn.model) req.body,json_query('$.model') if METH_POST
    use_backend %[var(txn.model)] if METH_POST
    default_backend {next(iter(place.models))}
{backends}"""
    )
    return Launch(
        [str(place.root / "usr/sbin/haproxy"), "-f", str(config)],
        {"LD_LIBRARY_PATH": str(place.root / "usr/lib/x86_64-linux-gnu")},
    )


def litellm(place: Place) -> Launch:
    first = next(iter(place.models.values()))
    config = place.folder / "litellm.yaml"
    config.write_text(
        json.dumps(
            {
                "model_list": [
                    {
                        "model_name": model,
                        "litellm_params": {
                            "model": f"openai/{model}",
                            "api_base": f"http://127.0.0.1:{port}/v1",
                            "api_key": "none",
                        },
                    }
                    for model, port in place.models.items()
                ],
                "general_settings": {
                    "master_key": TOKEN,
                    "pass_through_endpoints": [{"path": "/plain", "target": f"http://127.0.0.1:{first}/plain"}],
                },
            }
        )
    )
    command = [
        str(place.root / "bin/litellm"),
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(place.port),
    ]
    settings = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    settings["REPEATED_STREAMING_CHUNK_LIMIT"] = "1000000000"  # it ends a stream whose events are alike 100 times
    return Launch([*command, "--num_workers", "1", "--telemetry", "False"], settings)


def sglang_router(place: Place) -> Launch:
    name, pattern = VOCABULARY
    found = sorted(place.root.parent.glob(f"litellm-*/{pattern}"))
    if not found:
        raise NotHere(f"it needs {name}, which LiteLLM's package has: let that be installed first")
    shutil.copyfile(found[0], place.folder / name)
    settings = {"TOKIO_WORKER_THREADS": "1", "TIKTOKEN_ENCODINGS_BASE": str(place.folder)}
    command = [str(place.root / "bin/sglang-router"), "launch", "--host", "127.0.0.1", "--port", str(place.port)]
    command += ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(free_port()), "--log-level", "warn"]
    return Launch([*command, "--enable-igw", "--api-key", TOKEN, "--policy", "round_robin"], settings, workers=True)


def vllm_router(place: Place) -> Launch:
    # Not its default policy, cache_aware: that asks the worker for the prompt's tokens first, a second request for each.
    command = [str(place.root / "bin/vllm-router"), "--host", "127.0.0.1", "--port", str(place.port)]
    command += ["--prometheus-port", str(free_port()), "--log-level", "warning"]
    return Launch([*command, "--enable-igw", "--policy", "power_of_two"], {"TOKIO_WORKER_THREADS": "1"}, workers=True)


RIVALS = (
    Rival("nginx", "1.22.1", ("nginx",), nginx, "log", get="/", chat=False, debian=True),
    Rival(
        "HAProxy",
        "2.6.12",
        ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"),
        haproxy,
        "log",
        "1001 token hashes, model (json_query; body below 16 KB), log",
        get="/",
        debian=True,
    ),
    # One whose extra [proxy] the registry has whole; 1.108.14 and 1.110.2 ask for parts that it has not.
    Rival(
        "LiteLLM",
        "1.108.6",
        ("litellm[proxy]",),
        litellm,
        "one token",
        "one token, model, usage",
        get="/plain",
    ),
    Rival("sglang-router", "0.3.2", ("sglang-router",), sglang_router, "", "one token, model"),
    Rival("vllm-router", "0.1.17", ("vllm-router",), vllm_router, "", "model"),
)


def install(rival: Rival, cache: Path) -> Path:
    """Its folder, filled if it is not there yet."""
    root = cache / f"{rival.name.lower()}-{rival.version}"
    if (root / ".complete").exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    if rival.debian:
        first, *others = rival.packages
        run(["apt-get", "-q", "download", f"{first}={rival.version}-*", *others], root)
        for package in root.glob("*.deb"):
            run(["dpkg", "-x", str(package), "."], root)
    else:
        venv.create(root, with_pip=True)
        wanted = [f"{package}=={rival.version}" for package in rival.packages]
        run([str(root / "bin/pip"), "install", "-q", "--only-binary", ":all:", *wanted], root)
    (root / ".complete").touch()
    return root


def run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)
    except OSError as error:
        raise NotHere(f"{command[0]}: {error}") from None
    if done.returncode:
        raise NotHere(f"`{' '.join(command)}`: {last_line(done.stderr)}")


def last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["no word"])[-1][:200]


@contextlib.asynccontextmanager
async def running(rival: Rival, cache: Path, folder: Path, models: dict[str, int]) -> AsyncIterator[Running]:
    """It, up and knowing its upstreams, until the end of the block; then stopped, by its pid."""
    place = Place(await asyncio.to_thread(install, rival, cache), folder / rival.name, free_port(), models)
    place.folder.mkdir()
    launch = rival.launch(place)
    log = place.folder / "log"
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", *launch.command),
            cwd=place.folder,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(place.folder), **launch.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        await until_up(process, place.port, log)
        if launch.workers:
            await asyncio.to_thread(tell_workers, place)
        yield Running(rival, place.port, process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def until_up(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
    while process.returncode is None and asyncio.get_running_loop().time() < deadline:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.1)
    said = last_line(await asyncio.to_thread(log.read_text))
    raise NotHere(f"it did not start (exit status {process.returncode}): {said}")


def tell_workers(place: Place) -> None:
    def call(data: bytes | None = None) -> bytes:
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{place.port}/workers", data, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())

    for model, port in place.models.items():
        call(json.dumps({"url": f"http://127.0.0.1:{port}", "model_id": model}).encode())
