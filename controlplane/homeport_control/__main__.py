"""`homeport server …`: argv to settings to app. Prints data to stdout, everything else to stderr."""

import argparse
import asyncio
import json
import math
import os
import sys
from pathlib import Path

from homeport_control import app
from homeport_control.domain.errors import BadRequest, HomeportError
from homeport_control.listeners import allow_files
from homeport_control.settings import ServerSettings
from homeport_control.spec.base_image import DEFAULT_TEMPLATE, check_template
from homeport_control.spec.problems import Mistake


def main() -> None:
    arguments = _parser().parse_args()
    settings = _settings(arguments)
    try:
        match arguments.command:
            case "run":
                allow_files()
                asyncio.run(app.run(settings))
            case "init":
                print(json.dumps(asyncio.run(app.initialise(settings))))
            case "admin-token":
                print(asyncio.run(app.admin_token(settings)))
            case "add-bundle":
                print(f"bundle of the agent {asyncio.run(app.add_bundle(settings, arguments.file))} is served")
            case "join-token":
                print(
                    asyncio.run(app.join_token(settings, arguments.fleet, arguments.ttl_s, one_use=arguments.one_use))
                )
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
            f"homeport server: cannot use {error.filename or settings.state_dir}: {error.strerror or error}; "
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
    for command in (run, init, join, admin, bundle):
        command.add_argument("--state-dir", type=Path, default=_env("STATE_DIR", "/var/lib/homeport/server"))
        for name, default in _PORTS.items():
            command.add_argument(f"--{name.replace('_', '-')}", type=_port, default=_env(name.upper(), str(default)))
        command.add_argument(
            "--bind", default=_env("BIND", "127.0.0.1"), help="address of the API and the agents' port"
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
    )


if __name__ == "__main__":
    main()
