"""TLS at the gateway's HTTPS listener, and the certificates that it serves (SDS).

Envoy asks for a certificate by the name that a caller says in its hello (SNI), once for each name: the listener is the same
whatever certificates there are and wherever they come from, and one that comes later, or is renewed, touches no
connection. A name that has none is answered at once, and the handshake ends. Only names that are published have one, so
callers with made-up names leave nothing behind.

That selector "does not support QUIC listeners" (Envoy 1.40): by HTTP/3 there is one certificate for all names, whose name in
SDS is fixed. A handshake before it is there fails; when it comes, or is renewed, the listener is the same.

Does not cover where certificates come from. The selector wants session resumption off: a handshake for each connection.
"""

from functools import lru_cache
from typing import Any

from homeport_control.domain.certificates import ALL_NAMES
from homeport_control.domain.gateway import ServedCertificate
from homeport_control.xds.subscription import SDS, Resource
from homeport_control.xds.wire import ADS, newer, resource, typed

NO_NAME = "homeport/no-name"  # for callers that say no name; no host name has a slash
QUIC = "homeport/http3"
_NAMES = {"": NO_NAME, ALL_NAMES: QUIC}  # in SDS, where it is no host name

_TLS = "envoy.extensions.transport_sockets.tls"

TRANSPORT_SOCKET: dict[str, Any] = {
    "name": "envoy.transport_sockets.tls",
    "typed_config": typed(
        f"{_TLS}.v3.DownstreamTlsContext",
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "alpn_protocols": ["h2", "http/1.1"],
            "custom_tls_certificate_selector": {
                "name": "envoy.tls.certificate_selectors.on_demand_secret",
                "typed_config": newer(
                    f"{_TLS}.cert_selectors.on_demand_secret.v3.Config",
                    config_source=ADS,
                    certificate_mapper={
                        "name": "envoy.tls.certificate_mappers.sni",
                        "typed_config": {
                            "@type": f"type.googleapis.com/{_TLS}.cert_mappers.sni.v3.SNI",
                            "default_value": NO_NAME,
                        },
                    },
                ),
            },
        },
    ),
}

QUIC_TRANSPORT_SOCKET: dict[str, Any] = {
    "name": "envoy.transport_sockets.quic",
    "typed_config": typed(
        "envoy.extensions.transport_sockets.quic.v3.QuicDownstreamTransport",
        enable_early_data=False,  # what is sent before the handshake's end can be sent again by anybody
        downstream_tls_context={
            "common_tls_context": {"tls_certificate_sds_secret_configs": [{"name": QUIC, "sds_config": ADS}]}
        },
    ),
}


def certificates(served: tuple[ServedCertificate, ...]) -> dict[str, Resource]:
    """By name."""
    made = {_NAMES.get(it.name, it.name): _certificate(it) for it in served}
    return dict(sorted(made.items()))


@lru_cache(maxsize=20_000)
def _certificate(served: ServedCertificate) -> Resource:
    name = _NAMES.get(served.name, served.name)
    pair = {
        "certificate_chain": {"inline_string": served.chain_pem},
        "private_key": {"inline_string": served.key_pem},
    }
    return resource(SDS, name, {"name": name, "tls_certificate": pair})
