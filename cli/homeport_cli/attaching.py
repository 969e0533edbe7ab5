"""Following a run to its end, as `attach` does: its progress until it serves, then its logs, then how it ended."""

from homeport import Client, Error
from homeport.verdicts import pick, stopped
from homeport_protos.api.v1 import api_pb2

from homeport_cli.context import Terminal
from homeport_cli.errors import CliError
from homeport_cli.reading import write_logs
from homeport_cli.stopping import offer_to_stop
from homeport_cli.watch import until_serving


def attach(api: Client, terminal: Terminal, name: str, request: api_pb2.LogsRequest, *, timestamps: bool) -> None:
    """Raises Error, also when the run failed; KeyboardInterrupt after asking whether to stop it."""
    run = pick(api.runs(finished=True, names=[name]), "", name)
    if run is None:
        raise CliError(f"no run {name}; `homeport ps -a` shows all")
    try:
        if not stopped(run):
            until_serving(api, terminal, run.id, name)
        try:
            write_logs(api, terminal, request, timestamps=timestamps)
        except Error as error:
            # A run that failed before it had a container has no logs: how it ended says more.
            if not stopped(pick(api.runs(finished=True, names=[name]), run.id)):
                raise
            terminal.say(str(error))
    except KeyboardInterrupt:
        offer_to_stop(api, terminal, name)
        raise
    ended = pick(api.runs(finished=True, names=[name]), run.id)
    if ended is None:  # another run has its name by now
        terminal.say(f"The run {name} has ended")
        return
    why = ended.error or ended.reason
    if ended.state == "failed":
        raise CliError(f"the run {name} failed: {why or 'the server gave no reason'}")
    terminal.say(f"The run {name} has ended: {ended.state}{f', {why}' if why and why != ended.state else ''}")
