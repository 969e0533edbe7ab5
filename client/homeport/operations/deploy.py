"""Planning and applying a service: its document and its code to the server, and waiting until it serves.

Each step of `apply` is an operation of its own too, for who asks somebody between them, as the command line does. Does not
cover fleets and gateways, whose machines are reached over SSH (`homeport apply`).
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport_protos.api.v1 import api_pb2 as pb

from homeport import manifest, methods
from homeport.documents import document, kind_of, sends_code, sends_folder
from homeport.errors import Failed, Invalid
from homeport.manifest import Manifest
from homeport.operations import running
from homeport.steps import Notice, Steps, Upload, blocking, call, log, until
from homeport.verdicts import Failure, Published, deployed, pick

if TYPE_CHECKING:
    from homeport.code.bundle import Bundle
    from homeport.code.checked import Checked

Source = str | os.PathLike[str] | Mapping[str, Any] | Manifest  # a file, its folder, or the document itself
APPLIED_BY_COMMAND = {"fleet", "gateway"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A service's document with the values it asks for, and its code, which the server knows by now."""

    manifest: Manifest
    document: pb.Document
    code: "Checked | None"


def prepare(
    source: Source,
    *,
    name: str | None = None,
    env: Mapping[str, str] | None = None,
    reuse: bool = False,
    repo: bool = True,
) -> Steps[Prepared]:
    """Read a service's file and look through its code. `name`: of the run, over the document's own.

    `env`: values beside those that the document asks for and the caller's environment has. `reuse`: only hosts that are
    connected now. `repo`: the folder of the file goes along. Raises Invalid for what is wrong with the file or its code.
    """
    source = yield from blocking(lambda: _read(source))
    if (kind := kind_of(source.document_json)) in APPLIED_BY_COMMAND:
        raise Invalid(
            f"a {kind} is applied by `homeport apply`, which reaches its machines over SSH; this takes services"
        )
    wanted = document(source.document_json, name=name, env=env or {}, environ=os.environ, reuse=reuse)
    gathered, problems = yield from blocking(lambda: _gather(source, repo=repo))
    if problems:
        answer = yield from call(methods.PLAN, pb.PlanRequest(document=wanted))
        source.refuse([*answer.problems, *problems])
    if gathered is None:
        return Prepared(source, wanted, None)
    from homeport.code.checked import checked

    code = checked(gathered, (yield from call(methods.CHECK_CODE, pb.CheckCodeRequest(manifest=gathered.manifest))))
    wanted.code_id = code.code_id
    return Prepared(source, wanted, code)


def plan(
    source: Source | Prepared,
    *,
    name: str | None = None,
    env: Mapping[str, str] | None = None,
    reuse: bool = False,
    repo: bool = True,
) -> Steps[pb.PlanResponse]:
    """What applying it would change, and which hosts would take it; changes nothing. Arguments and errors as `prepare`.

    What is Prepared has those arguments already.
    """
    prepared = yield from _prepared(source, name, env, reuse=reuse, repo=repo)
    answer = yield from call(methods.PLAN, pb.PlanRequest(document=prepared.document))
    prepared.manifest.refuse(answer.problems)
    return answer


def upload(prepared: Prepared, *, on_sent: Callable[[int], None] = lambda size: None) -> Steps[None]:
    """Send the contents that the server lacks. `on_sent` hears the bytes of each piece."""
    code = prepared.code
    if code is not None and code.missing:
        from homeport.code.upload import messages

        yield Upload(messages(code.bundle, code.code_id, code.missing, on_sent), code.deadline_s)


def submit(prepared: Prepared, planned: pb.PlanResponse, *, force: bool = False) -> Steps[pb.ApplyResponse]:
    """Apply what was planned; its code is there. Raises Refused when what was planned on has changed meanwhile."""
    wanted = pb.Document()
    wanted.CopyFrom(prepared.document)
    # The name that was planned: without one in the document the server would draw another.
    wanted.name = planned.run_name
    request = pb.ApplyRequest(document=wanted, plan_token=planned.plan_token, force=force)
    answer = yield from call(methods.APPLY, request)
    prepared.manifest.refuse(answer.problems)
    return answer


def apply(
    source: Source | Prepared,
    *,
    name: str | None = None,
    env: Mapping[str, str] | None = None,
    reuse: bool = False,
    repo: bool = True,
    plan: pb.PlanResponse | None = None,
    force: bool = False,
    wait: bool = True,
    within_s: float | None = None,
    on_notice: Notice = log,
) -> Steps[pb.Run]:
    """A new run, or an update in place of the one that runs; what is unchanged is left alone, but with `force`.

    `plan`: what was looked at; Refused when things have changed since. `wait`: until it serves, for `within_s` at most (then
    TooSlow); Failed with the reason and the log's end when it does not come to that. Else arguments and errors as `prepare`.
    """
    prepared = yield from _prepared(source, name, env, reuse=reuse, repo=repo)
    planned = plan or (yield from _plan(prepared))
    if planned.action == "unchanged" and not force:
        run = yield from running.run(planned.run_name)
        revision = run.revision
        if run.newest_revision > revision:  # given up; this one serves
            return run
        applied = pb.ApplyResponse(run_name=run.name, run_id=run.id, revision=revision)
    else:
        yield from upload(prepared)
        applied = yield from submit(prepared, planned, force=force)
    return (yield from _reached(applied, wait=wait, within_s=within_s, on_notice=on_notice))


_plan = plan  # inside `apply` that is what was looked at


def _reached(applied: pb.ApplyResponse, *, wait: bool, within_s: float | None, on_notice: Notice) -> Steps[pb.Run]:
    if not wait:
        answer = yield from call(methods.LIST_RUNS, pb.ListRunsRequest(all=True, names=[applied.run_name]))
        return running.found(pick(answer.runs, applied.run_id, applied.run_name), applied.run_name)

    def look(listed: list[pb.Run]) -> tuple[pb.Run, Published | Failure] | None:
        run = running.found(pick(listed, applied.run_id, applied.run_name), applied.run_name)
        end = deployed(run, applied.revision)
        return (run, end) if end else None

    watch = running.watch_runs(finished=True, names=[applied.run_name], within_s=within_s, on_notice=on_notice)
    run, end = yield from until(watch, look)
    if isinstance(end, Failure):
        raise Failed(end.reason, end.log_tail)
    return run


def _prepared(
    source: Source | Prepared, name: str | None, env: Mapping[str, str] | None, *, reuse: bool, repo: bool
) -> Steps[Prepared]:
    if isinstance(source, Prepared):
        return source
    return (yield from prepare(source, name=name, env=env, reuse=reuse, repo=repo))


def _read(source: Source) -> Manifest:
    if isinstance(source, Manifest):
        return source
    if isinstance(source, Mapping):
        return manifest.of_mapping(source)
    return manifest.load(Path(source))


def _gather(source: Manifest, *, repo: bool) -> "tuple[Bundle | None, list[pb.Problem]]":
    """The code that goes along; with problems in `files`, those. A document that is no file has no folder to send."""
    content = json.loads(source.document_json)
    if not sends_code(content):
        return None, []
    from homeport.code import bundle, mappings  # only a service pays for it

    file = source.path or Path("document")
    mapped, problems = mappings.read(content, os.path.dirname(os.path.abspath(file)))
    if problems:
        return None, problems
    return bundle.gather(str(file), mapped, repo=repo and source.path is not None and sends_folder(content)), []
