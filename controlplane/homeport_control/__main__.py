"""`homeport server …`: argv to settings to app. Prints data to stdout, everything else to stderr."""

import argparse
import asyncio
import json
import math
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from homeport_control import app, upkeep
from homeport_control.domain.errors import BadRequest, HomeportError
from homeport_control.identity import export_identity, import_identity
from homeport_control.settings import ServerSettings
from homeport_control.spec.base_image import DEFAULT_TEMPLATE, check_template
from homeport_control.spec.problems import Mistake
from homeport_control.store import place


def main() -> None:
    arguments = _parser().parse_args()
    try:
        settings = _settings(arguments)
        match arguments.command:
            case "run":
                asyncio.run(app.run(settings))
            case "init":
                print(json.dumps(asyncio.run(app.initialise(settings))))
            case "admin-token":
                print(asyncio.run(app.admin_token(settings)))
            case "add-bundle":
                print(f"bundle of the agent {asyncio.run(app.add_bundle(settings, arguments.file))} is served")
            case "identity":
                work = export_identity if arguments.action == "export" else import_identity
                print(f"identity with the CA {work(settings.state_dir, arguments.file)[:12]}… {arguments.action}ed")
            case "join-token":
                print(
                    asyncio.run(app.join_token(settings, arguments.fleet, arguments.ttl_s, one_use=arguments.one_use))
                )
            case "move":
                print(_rows(asyncio.run(upkeep.move(settings, _target(arguments)))))
                print("the next start goes on there; what was copied is left as it is", file=sys.stderr)
            case "backup":
                manifest, size_bytes = asyncio.run(upkeep.backup(settings, arguments.file))
                print(f"{arguments.file}: server {manifest.server_id}, {size_bytes / 1e6:.1f} MB; it holds all keys")
            case "restore":
                manifest, aside = asyncio.run(upkeep.restore(settings, arguments.file, force=arguments.force))
                made = datetime.fromtimestamp(manifest.made_at_s).astimezone().isoformat(" ", "seconds")
                print(f"server {manifest.server_id} is as it was at {made}" + (f"; before: {aside}" if aside else ""))
                print("what hosts run that was started after that is stopped when they connect", file=sys.stderr)
    except KeyboardInterrupt:
        sys.exit(130)
    except BadRequest as error:
        print(f"homeport server: {error}", file=sys.stderr)
        sys.exit(2)
    except HomeportError as error:
        sys.exit(f"homeport server: {error}")
    except PermissionError as error:
        sys.exit(
            f"homeport server: no permission for {error.filename}; run it as the user that owns the state directory"
        )
    except OSError as error:  # a full or broken disk, a file where the directory should be
        sys.exit(
            f"homeport server: cannot use {error.filename or arguments.state_dir}: {error.strerror or error}; "
            "put that right or choose another --state-dir"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="homeport server", description="The control plane of Homeport.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the server in the foreground")
    init = commands.add_parser("init", help="make the CA, the database and the first admin token; prints JSON")
    join = commands.add_parser("join-token", help="print a token with which a host can join")
    join.add_argument("--fleet", default="local")
    join.add_argument("--ttl-s", type=float, default=0.0, help="seconds until it expires (default: one hour)")
    join.add_argument("--one-use", action="store_true", help="good for one host")
    admin = commands.add_parser("admin-token", help="print a new admin token, when all were lost")
    bundle = commands.add_parser("add-bundle", help="serve a file of `homeport bundle` to hosts without internet")
    bundle.add_argument("file", type=Path, metavar="FILE")
    identity = commands.add_parser("identity", help="carry CA and keys to a further server of the same database")
    identity.add_argument("action", choices=["export", "import"])
    identity.add_argument("file", type=Path, metavar="FILE", help="keep it secret: who has it is this server")
    move = commands.add_parser("move", help="copy the database to PostgreSQL, or back; the server is stopped")
    to = move.add_mutually_exclusive_group(required=True)
    to.add_argument("--to", metavar="URL", help="postgresql://USER@HOST:PORT/NAME of an empty database, or: sqlite")
    to.add_argument("--to-file", type=Path, metavar="FILE", help="holds that URL, and may hold its password")
    backup = commands.add_parser("backup", help="write all that the server is into one file; it may run meanwhile")
    restore = commands.add_parser("restore", help="make the state directory what a backup says; the server is stopped")
    for command in (backup, restore):
        command.add_argument("file", type=Path, metavar="FILE")
    restore.add_argument(
        "--force", action="store_true", help="put aside what is in the state directory, empty PostgreSQL"
    )
    for command in (run, init, join, admin, bundle, identity, move, backup, restore):
        command.add_argument("--state-dir", type=Path, default=_env("STATE_DIR", "/var/lib/homeport/server"))
        where = command.add_mutually_exclusive_group()
        where.add_argument(
            "--database", metavar="URL", help="postgresql://USER@HOST:PORT/NAME (default: a file of its own)"
        )
        where.add_argument(
            "--database-file", type=Path, metavar="FILE", help="holds that URL, and may hold its password"
        )
        for name, default in _PORTS.items():
            command.add_argument(f"--{name.replace('_', '-')}", type=_port, default=_env(name.upper(), str(default)))
        command.add_argument(
            "--bind", default=_env("BIND", "127.0.0.1"), help="address of the API and the agents' port"
        )
        command.add_argument(
            "--name", default=_env("NAME", ""), help="of this server among several (default: the machine's)"
        )
        command.add_argument(
            "--advertise",
            default=_env("ADVERTISE", ""),
            help="host or host:port where other servers reach its agents' port",
        )
        command.add_argument("--gateway-address", default=_env("GATEWAY_ADDRESS", "127.0.0.1"))
        command.add_argument("--domain", default=_env("DOMAIN", "localhost"))
        command.add_argument("--ready-timeout-s", type=_seconds, default=_env("READY_TIMEOUT_S", "600"))
        command.add_argument("--lost-after-s", type=_seconds, default=_env("LOST_AFTER_S", "10"))
        command.add_argument(
            "--base-image",
            type=_base_image,
            default=_env("BASE_IMAGE", DEFAULT_TEMPLATE),
            help="image of services without `image`: {python} is the version, {variant} nothing, `-cuda` or `-nvcc`",
        )
    return parser


_PORTS = {"api_port": 7400, "link_port": 7401, "web_port": 7402, "edge_port": 7403, "gateway_port": 7480}


def _env(name: str, default: str) -> str:
    return os.environ.get(f"HOMEPORT_{name}", default)


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (1 to 65535)")
    return port


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in seconds (more than 0)")
    return seconds


def _base_image(text: str) -> str:
    try:
        return check_template(text)
    except Mistake as mistake:
        raise argparse.ArgumentTypeError(f"{mistake.message}. {mistake.hint}") from None


def _settings(arguments: argparse.Namespace) -> ServerSettings:
    return ServerSettings(
        state_dir=arguments.state_dir,
        bind=arguments.bind,
        api_port=arguments.api_port,
        link_port=arguments.link_port,
        web_port=arguments.web_port,
        edge_port=arguments.edge_port,
        gateway_address=arguments.gateway_address,
        gateway_port=arguments.gateway_port,
        domain=arguments.domain,
        ready_timeout_s=arguments.ready_timeout_s,
        lost_after_s=arguments.lost_after_s,
        base_image=arguments.base_image,
        database_url=_database_url(arguments),
        name=arguments.name,
        advertise=arguments.advertise,
    )


def _target(arguments: argparse.Namespace) -> str:
    """Where to move to. Raises BadRequest, OSError."""
    return place.from_file(arguments.to_file) if arguments.to_file else str(arguments.to)


def _rows(counted: Mapping[str, int]) -> str:
    return "\n".join(f"{name:16}{count:>10}" for name, count in counted.items())


def _database_url(arguments: argparse.Namespace) -> str:
    """Flags before variables before the state directory's own file. Raises BadRequest, OSError."""
    url, file = arguments.database, arguments.database_file
    if not (url or file):
        url, file = _env("DATABASE", ""), _env("DATABASE_FILE", "")
    if not (url or file):
        own = arguments.state_dir / place.FILE
        file = own if own.exists() else None
    if file:
        return place.from_file(Path(file))
    return place.parse(url) if url else ""


if __name__ == "__main__":
    main()
