"""What can be done: stop and scale a service, drain and undrain a host. A page asks and says what comes; the API answers."""

from dataclasses import dataclass

import grpc
from homeport_protos.api.v1 import api_pb2
from starlette.responses import HTMLResponse, Response

from homeport_control.dashboard.render import Renderer
from homeport_control.dashboard.visits import Visit
from homeport_control.dashboard.words import counted
from homeport_control.relay.inside import Failed, Inside


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before it is done."""

    title: str
    words: str
    button: str
    is_grave: bool
    back: str
    asked: "Asked | None" = None
    hidden: tuple[tuple[str, str], ...] = ()  # what the form says besides


@dataclass(frozen=True, slots=True)
class Asked:
    """A field of the question."""

    name: str
    label: str
    value: str
    hint: str


class Actions:
    def __init__(self, inside: Inside, renderer: Renderer) -> None:
        self._inside = inside
        self._renderer = renderer

    async def ask_stop(self, visit: Visit) -> Response:
        name = _given(visit, "name")
        request = api_pb2.ListRunsRequest(names=[name])
        found = await self._inside.call("ListRuns", request, api_pb2.ListRunsResponse, visit.reader)
        if not found.runs:
            raise Failed(grpc.StatusCode.NOT_FOUND, f"no run {name} that could be stopped")
        run = found.runs[0]
        words = (
            f"Its {counted(len(run.replicas), 'replica')} are stopped"
            if len(run.replicas) != 1
            else "Its replica is stopped"
        )
        words += f" after what is under way is answered; {run.url} answers no more." if run.url else "."
        return self._asked(visit, Question(f"Stop {name}?", words, "Stop it", True, f"/services/{name}"))

    async def stop(self, visit: Visit) -> Response:
        name = _given(visit, "name")
        request = api_pb2.StopRunsRequest(names=[name])
        done = await self._inside.call("StopRuns", request, api_pb2.StopRunsResponse, visit.reader)
        sentence = f"{name} is being stopped." if done.stopping else f"{name} was stopped already."
        return self._done(visit, sentence, "/services")

    async def ask_scale(self, visit: Visit) -> Response:
        name = _given(visit, "name")
        request = api_pb2.ListRunsRequest(names=[name])
        found = await self._inside.call("ListRuns", request, api_pb2.ListRunsResponse, visit.reader)
        if not found.runs:
            raise Failed(grpc.StatusCode.NOT_FOUND, f"no run {name} that could be scaled")
        run = found.runs[0]
        words = "Nothing that runs is restarted. The next apply of its file has the file's number again."
        hint = "a range, as 1..4: its `scaling` chooses within it" if run.replicas_range else "a number, as 3"
        asked = Asked("replicas", "Replicas", run.replicas_range or str(run.replicas_wanted), hint)
        hidden = (("from_revision", str(run.newest_revision or run.revision)),)
        back = f"/services/{name}"
        return self._asked(visit, Question(f"Scale {name}", words, "Scale it", False, back, asked, hidden))

    async def scale(self, visit: Visit) -> Response:
        name, said = _given(visit, "name"), visit.form.get("from_revision", "")
        request = api_pb2.ScaleRequest(
            name=name,
            replicas=visit.form.get("replicas", "").strip(),
            from_revision=int(said) if said.isdecimal() and len(said) < 10 else 0,
        )
        done = await self._inside.call("Scale", request, api_pb2.ScaleResponse, visit.reader)
        if done.revision == done.from_revision:
            return self._done(visit, f"{name} has {done.replicas} replicas already.", f"/services/{name}")
        sentence = (
            f"{name} gets {done.replicas} replicas in place of {done.replicas_before}, by revision {done.revision}."
        )
        return self._done(visit, sentence, f"/services/{name}")

    async def ask_drain(self, visit: Visit) -> Response:
        host = await self._host(visit)
        moves = (
            f"Its {counted(host.replicas, 'replica')} move to other hosts" if host.replicas else "Nothing runs on it"
        )
        words = f"{moves}, one by one and without losing requests; it gets nothing new until it is undrained."
        if not host.replicas:
            words = f"{moves}; it gets nothing new until it is undrained."
        return self._asked(visit, Question(f"Drain {host.name}?", words, "Drain it", False, "/"))

    async def drain(self, visit: Visit) -> Response:
        request = api_pb2.DrainRequest(host=_given(visit, "host"))
        done = await self._inside.call("Drain", request, api_pb2.DrainResponse, visit.reader)
        return self._done(visit, _sentence(done.sentence), "/")

    async def ask_undrain(self, visit: Visit) -> Response:
        host = await self._host(visit)
        words = "It gets replicas again, and what was found wrong with it is looked at anew."
        return self._asked(visit, Question(f"Undrain {host.name}?", words, "Undrain it", False, "/"))

    async def undrain(self, visit: Visit) -> Response:
        request = api_pb2.DrainRequest(host=_given(visit, "host"))
        done = await self._inside.call("Undrain", request, api_pb2.DrainResponse, visit.reader)
        return self._done(visit, _sentence(done.sentence), "/")

    async def _host(self, visit: Visit) -> api_pb2.Host:
        request = api_pb2.ListHostsRequest(names=[_given(visit, "host")])
        found = await self._inside.call("ListHosts", request, api_pb2.ListHostsResponse, visit.reader)
        return found.hosts[0]

    def _asked(self, visit: Visit, question: Question) -> Response:
        return HTMLResponse(self._renderer.page("confirm", question=question, **visit.values))

    def _done(self, visit: Visit, sentence: str, back: str) -> Response:
        return HTMLResponse(self._renderer.page("done", sentence=sentence, back=back, **visit.values))


def _given(visit: Visit, name: str) -> str:
    return str(visit.request.path_params[name])


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
