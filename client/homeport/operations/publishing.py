"""Gateways, as far as the server does it: a machine that is reached over SSH is the caller's to install (`homeport apply`)."""

from homeport_protos.api.v1 import api_pb2 as pb

from homeport import methods
from homeport.steps import End, Notice, Steps, Stream, call, log


def gateways() -> Steps[list[pb.Gateway]]:
    answer = yield from call(methods.LIST_GATEWAYS, pb.ListGatewaysRequest())
    return list(answer.gateways)


def watch_gateways(*, within_s: float | None = None, on_notice: Notice = log) -> Stream[list[pb.Gateway]]:
    """The whole list, at once and after each change, without an end."""
    request = pb.ListGatewaysRequest()
    return Stream(
        methods.WATCH_GATEWAYS,
        lambda: request,
        lambda answer: [list(answer.gateways)],
        End.TROUBLE,
        within_s=within_s,
        on_notice=on_notice,
    )


def plan_gateway(document_json: str) -> Steps[pb.PlanGatewayResponse]:
    """What is wrong with the document is part of the answer."""
    return (yield from call(methods.PLAN_GATEWAY, pb.PlanGatewayRequest(json=document_json)))


def apply_gateway(
    document_json: str, *, plan_token: str = "", reinstall: bool = False
) -> Steps[pb.ApplyGatewayResponse]:
    """`plan_token`: of the plan; Refused when what it was made of has changed. `installs` are the caller's to do."""
    request = pb.PlanGatewayRequest(json=document_json, plan_token=plan_token, reinstall=reinstall)
    return (yield from call(methods.APPLY_GATEWAY, request))


def delete_gateway(name: str) -> Steps[pb.GatewayAnswer]:
    """One that publishes nothing."""
    return (yield from call(methods.DELETE_GATEWAY, pb.GatewayRequest(name=name)))


def gateway_ca(name: str = "") -> Steps[str]:
    """The PEM of the CA that signs the certificates of a gateway with `certificate: self-signed`; "": of the default one."""
    answer = yield from call(methods.GET_GATEWAY_CA, pb.GatewayRequest(name=name))
    return answer.ca_pem


def set_default_gateway(name: str) -> Steps[str]:
    """By which is published, from now on, what names no gateway. What was done."""
    answer = yield from call(methods.SET_DEFAULT_GATEWAY, pb.GatewayRequest(name=name))
    return answer.sentence
