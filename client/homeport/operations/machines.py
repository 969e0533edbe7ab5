"""Hosts and fleets, as far as the server does it: who applies a fleet installs its hosts over SSH (`homeport apply`)."""

from collections.abc import Sequence

from homeport_protos.api.v1 import api_pb2 as pb

from homeport import methods
from homeport.steps import End, Notice, Steps, Stream, call, log


def server() -> Steps[pb.GetServerResponse]:
    """Its version, its default gateway, whose token this is and what role it has."""
    return (yield from call(methods.GET_SERVER, pb.GetServerRequest()))


def hosts(*, fleet: str = "", names: Sequence[str] = (), telemetry: bool = False) -> Steps[list[pb.Host]]:
    """The hosts with their GPUs. `names`: or ids; empty: all. `telemetry`: with the newest readings."""
    request = pb.ListHostsRequest(fleet=fleet, names=names, telemetry=telemetry)
    answer = yield from call(methods.LIST_HOSTS, request)
    return list(answer.hosts)


def watch_hosts(
    *,
    fleet: str = "",
    names: Sequence[str] = (),
    telemetry: bool = False,
    within_s: float | None = None,
    on_notice: Notice = log,
) -> Stream[list[pb.Host]]:
    """The whole list, at once and after each change, once a second at most, without an end."""
    request = pb.ListHostsRequest(fleet=fleet, names=names, telemetry=telemetry)
    return Stream(
        methods.WATCH_HOSTS,
        lambda: request,
        lambda answer: [list(answer.hosts)],
        End.TROUBLE,
        within_s=within_s,
        on_notice=on_notice,
    )


def drain(host: str, *, gpus: Sequence[str] = ()) -> Steps[str]:
    """Nothing new comes to a host, or to some of its GPUs (by their UUIDs), and its replicas move. What was done."""
    answer = yield from call(methods.DRAIN, pb.DrainRequest(host=host, gpu_uuids=gpus))
    return answer.sentence


def undrain(host: str, *, gpus: Sequence[str] = ()) -> Steps[str]:
    """The contrary; and what was found wrong with them is looked at anew. What was done."""
    answer = yield from call(methods.UNDRAIN, pb.DrainRequest(host=host, gpu_uuids=gpus))
    return answer.sentence


def delete_host(host: str, *, force: bool = False) -> Steps[str]:
    """Take a host that is empty out of its fleet for good; `force`: whatever is on it. What was done."""
    answer = yield from call(methods.DELETE_HOST, pb.DeleteHostRequest(host=host, force=force))
    return answer.sentence


def upgrade_hosts(*names: str) -> Steps[pb.UpgradeHostsResponse]:
    """Bring agents to the server's build, one after the other in each fleet; without names: all."""
    return (yield from call(methods.UPGRADE_HOSTS, pb.UpgradeHostsRequest(hosts=names)))


def create_join_token(fleet: str, *, ttl_s: float = 0.0, one_use: bool = False) -> Steps[pb.CreateJoinTokenResponse]:
    """With what a machine becomes a host of that fleet. `ttl_s`: 0: one hour."""
    request = pb.CreateJoinTokenRequest(fleet=fleet, ttl_s=ttl_s, one_use=one_use)
    return (yield from call(methods.CREATE_JOIN_TOKEN, request))


def plan_fleet(document_json: str) -> Steps[pb.PlanFleetResponse]:
    """What is wrong with the document is part of the answer."""
    return (yield from call(methods.PLAN_FLEET, pb.PlanFleetRequest(json=document_json)))


def apply_fleet(document_json: str, *, server: str = "", reinstall: bool = False) -> Steps[pb.ApplyFleetResponse]:
    """Keep it; the answer's `installs` are the caller's to do. `server`: HOST:PORT as the hosts reach it."""
    request = pb.PlanFleetRequest(json=document_json, reinstall=reinstall, server=server)
    return (yield from call(methods.APPLY_FLEET, request))


def report_registration(report: pb.RegistrationReport) -> Steps[None]:
    yield from call(methods.REPORT_REGISTRATION, report)


def delete_fleet(name: str) -> Steps[str]:
    """One without hosts. What was done."""
    answer = yield from call(methods.DELETE_FLEET, pb.DeleteFleetRequest(name=name))
    return answer.sentence
