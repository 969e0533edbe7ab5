"""What a process must not have loaded once its modules are in: the import law as a fact, and the reason for each ban.

import-linter (scripts/check) reads the source; this looks at a real interpreter, so that it sees what libraries drag in.
"""

import importlib.util
import subprocess
import sys

import pytest

SERVER_ONLY = "the agent's host does not install the server's extra"
AGENT_ONLY = "the machine of whoever calls the command line does not install the agent's extra"

BANNED = {
    "homeport_agent.app": {
        "homeport_control": "agent and control plane never import one another",
        "homeport_cli": "agent and command line never import one another",
        "sqlalchemy": SERVER_ONLY,
        "alembic": SERVER_ONLY,
        "aiosqlite": SERVER_ONLY,
        "pydantic": SERVER_ONLY,
        "starlette": SERVER_ONLY,
        "uvicorn": SERVER_ONLY,
        "envoy": "generated Envoy messages are the server's, and 40 MB of memory",
        "typer": "the agent is no command line: 10 MB of memory on every host",
        "rich": "the agent is no command line: 10 MB of memory on every host",
    },
    "homeport_cli.main": {
        "homeport_control": "control plane and command line never import one another",
        "homeport_agent": "agent and command line never import one another",
        "docker": AGENT_ONLY,
        "psutil": AGENT_ONLY,
        "pynvml": AGENT_ONLY,
        "cryptography": AGENT_ONLY,
        "structlog": AGENT_ONLY,
        "sqlalchemy": SERVER_ONLY,
        "pydantic": "the configuration language is checked by the server",
        "grpc": "`homeport version` and `--help` answer without it: it costs 150 ms",
    },
    "homeport": {"grpc": "an error's name or a type costs no 150 ms", "yaml": "nor does it need files"},
    "homeport.client, homeport.aio": {
        "homeport_control": "a program that calls the server is no server",
        "homeport_agent": "nor an agent",
        "homeport_cli": "the command line stands on the client, not the other way round",
        "typer": "a library brings no command line",
        "rich": "a library prints nothing",
        "pydantic": "the configuration language is checked by the server",
        "asyncssh": "machines are reached by the command line",
        "cryptography": AGENT_ONLY,
        "sqlalchemy": SERVER_ONLY,
    },
    "homeport_control.decide": {
        "asyncio": "deciding is pure",
        "grpc": "deciding is pure",
        "sqlalchemy": "deciding is pure",
    },
}


def loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", BANNED)
def test_a_process_loads_nothing_that_it_must_not(module: str) -> None:
    loaded = loaded_by(module)
    found = {name: why for name, why in BANNED[module].items() if name in loaded}
    assert not found


@pytest.mark.parametrize("name", sorted({name for banned in BANNED.values() for name in banned}))
def test_a_banned_module_exists_at_all(name: str) -> None:
    # A ban on a name that is gone would keep nobody from anything.
    assert importlib.util.find_spec(name) is not None
