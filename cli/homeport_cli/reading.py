"""Writing a run's logs to standard output as they come, as `logs` and `attach` do. Notes go to standard error."""

import os
import sys

from homeport import Client
from homeport.verdicts import ENDED
from homeport_protos.api.v1 import api_pb2

from homeport_cli.context import Terminal
from homeport_cli.logtext import LogText, ToBytes, json_line


def write_logs(
    api: Client, terminal: Terminal, request: api_pb2.LogsRequest, *, timestamps: bool = False, as_json: bool = False
) -> None:
    """Until there are no more; with `follow` until the run has ended. Raises Error."""
    to_bytes: ToBytes = json_line
    if not as_json:
        several = not (request.HasField("replica") or request.access) and _several(api, request.run_name)
        colour = terminal.out.is_terminal and not os.environ.get("NO_COLOR")
        to_bytes = LogText(timestamps=timestamps, several=several, colour=colour).line
    out = sys.stdout.buffer
    for answer in api.read_logs(request, on_notice=terminal.say):
        out.writelines(map(to_bytes, answer.entries))
        out.flush()
        if answer.note:
            terminal.say(answer.note)


def _several(api: Client, name: str) -> bool:
    """Whether there is more than one replica to tell apart from the first line on."""
    replicas = [replica for run in api.runs(names=[name]) for replica in run.replicas]
    left = [replica for replica in replicas if replica.state not in ENDED] or replicas
    return len({replica.index for replica in left}) > 1
