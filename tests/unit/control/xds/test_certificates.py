"""xds/certificates: what Envoy is told of one. With a real Envoy: tests/envoy/test_tls.py."""

from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from google.protobuf import json_format
from homeport_control.domain.gateway import ServedCertificate
from homeport_control.xds.certificates import NO_NAME, TRANSPORT_SOCKET, certificates


def test_each_is_named_as_callers_say_it_and_who_says_none_has_a_name_of_its_own() -> None:
    made = certificates((ServedCertificate("", "A", "ka"), ServedCertificate("web.b.c", "W", "kw")))
    assert list(made) == [NO_NAME, "web.b.c"]
    secret = secret_pb2.Secret.FromString(made["web.b.c"].body)
    assert secret.name == "web.b.c"
    assert secret.tls_certificate.certificate_chain.inline_string == "W"
    assert secret.tls_certificate.private_key.inline_string == "kw"


def test_equal_certificates_are_one_version_and_another_key_is_another() -> None:
    one, same, other = (certificates((ServedCertificate("a", "A", key),))["a"].version for key in ("k", "k", "l"))
    assert one == same != other


def test_the_listener_takes_tls_1_2_and_later_and_offers_http2() -> None:
    fields = {key: value for key, value in TRANSPORT_SOCKET["typed_config"].items() if key != "@type"}
    context = json_format.ParseDict(fields, tls_pb2.DownstreamTlsContext())
    common = context.common_tls_context
    assert common.tls_params.tls_minimum_protocol_version == common_pb2.TlsParameters.TLSv1_2
    assert list(common.alpn_protocols) == ["h2", "http/1.1"]
    assert context.disable_stateless_session_resumption
