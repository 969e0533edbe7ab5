"""`python -P -m homeport_agent run | join | doctor`: arguments to settings, then that.

Ends with 0 done, 1 failed, 2 usage, 78 not joined.
"""

import argparse
import asyncio
import dataclasses
import json
import logging
import os
import socket
import sys
from pathlib import Path

from homeport_agent import logging_setup, settings
from homeport_agent.identity import IdentityStore, NotJoined
from homeport_agent.lock import AlreadyRunning

NOT_JOINED = 78  # EX_CONFIG of sysexits.h: to start it again is no use, whoever supervises it may stop


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        made = settings.from_environment(options.state_dir)
        if options.command == "doctor":
            return _doctor(options, made)
        return _join(options, made) if options.command == "join" else _run(made)
    except settings.BadSettings as error:
        return _fail(error, 2)
    except OSError as error:
        return _fail(f"{error.filename or made.state_dir}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="homeport agent", description="The agent of one host.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the agent; the host must have joined")
    join = commands.add_parser("join", help="join a server, once")
    doctor = commands.add_parser("doctor", help="check what this host needs: driver, Docker, GPUs in containers, clock")
    doctor.add_argument("--host", action="store_true", help="always so here; `homeport doctor` has it too")
    doctor.add_argument("--json", action="store_true", help="an object a line, as they are found")
    doctor.add_argument("--root", type=Path, default=Path("/"), help=argparse.SUPPRESS)  # where /sys and /proc lie
    for command in (run, join, doctor):
        command.add_argument("--state-dir", type=Path, help=f"default: {settings.DEFAULT_STATE_DIR}")
    server, token = os.environ.get("HOMEPORT_SERVER"), os.environ.get("HOMEPORT_JOIN_TOKEN")
    join.add_argument("--server", default=server, required=not server, metavar="HOST:PORT")
    join.add_argument("--token", default=token, required=not token, help="hpj_…, also HOMEPORT_JOIN_TOKEN")
    join.add_argument("--name", default=socket.gethostname(), help="default: the host's name")
    join.add_argument(
        "--label", action="append", default=[], metavar="NAME=VALUE", help="what services may ask for; repeat it"
    )
    join.add_argument("--web-port", type=int, help="the server's web port; default: its API port + 2")
    return parser


def _run(made: settings.AgentSettings) -> int:
    from homeport_agent import app
    from homeport_agent.leaving import forget

    logging_setup.begin(made.log_format)
    try:
        if asyncio.run(app.run(made)):
            forget(made.state_dir)  # now no thread is left that could write there
            logging.getLogger("homeport.agent").info(
                "nothing of the server is left here; `homeport agent join` lets this host join again"
            )
    except NotJoined as error:
        return _fail(error, NOT_JOINED)
    except AlreadyRunning as error:
        return _fail(error, 1)
    return 0


def _join(options: argparse.Namespace, made: settings.AgentSettings) -> int:
    from homeport_agent.join import BadJoinInput, CannotJoin, join, parse_label

    store = IdentityStore(made.state_dir)
    try:
        labels = dict(parse_label(text) for text in options.label)
        joining = join(store, options.server, options.token, options.name, options.web_port, labels)
        identity, was_known = asyncio.run(joining)
    except CannotJoin as error:
        return _fail(error, 2 if isinstance(error, BadJoinInput) else 1)
    how = "had joined already" if was_known else "joined"
    print(f"{identity.name} {how}: host {identity.host_id}, server {identity.link_target}")
    return 0


def _doctor(options: argparse.Namespace, made: settings.AgentSettings) -> int:
    from homeport_agent.preflight.examine import examine
    from homeport_agent.preflight.machine import Machine

    failed = False
    for check in examine(made, Machine(options.root)):
        print(json.dumps(dataclasses.asdict(check), ensure_ascii=False) if options.json else check, flush=True)
        failed = failed or check.state == "fail"
    # At once: the end of an interpreter waits for its threads, and one may hang in the driver.
    os._exit(int(failed))


def _fail(error: object, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
