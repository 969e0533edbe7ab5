"""A server of the API whose answers a test writes down: real gRPC, real TLS, no logic of its own.

`answers[method]` is what the method answers: a message, a list of messages for a stream (which then stays open, as a watch
does, until `finish_streams` or the caller's end), or a (status code, details) pair. `asked` keeps what came,
of an upload the whole list.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf.message_factory import GetMessageClass
from homeport_protos.api.v1 import api_pb2

TOKEN = "hp_test-secret"
WAIT_S = 20.0


@dataclass
class Certificate:
    pem: bytes
    key: bytes


def self_signed(name: str = "homeport-server") -> Certificate:
    """A certificate that is its own CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    no_password = serialization.NoEncryption()
    return Certificate(
        certificate.public_bytes(encoding),
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, no_password),
    )


@dataclass
class FakeApi:
    certificate: Certificate
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    finish_streams: bool = False
    stream_is_open: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def __post_init__(self) -> None:
        self._server: grpc.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen; again on the same port after `stop`."""
        server = grpc.server(ThreadPoolExecutor(max_workers=8))
        service = api_pb2.DESCRIPTOR.services_by_name["Api"]
        handlers = {method.name: self._handler(method) for method in service.methods}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service.full_name, handlers)])
        credentials = grpc.ssl_server_credentials([(self.certificate.key, self.certificate.pem)])
        self.port = server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
        server.start()
        self._server = server

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(grace=None).wait(WAIT_S)
            self._server = None

    def requests(self, method: str) -> list[Any]:
        return [request for name, request in self.asked if name == method]

    def _handler(self, method: Any) -> grpc.RpcMethodHandler:
        def unary(request: Any, context: grpc.ServicerContext) -> Any:
            return self._answer(method.name, request, context)

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            done = threading.Event()
            context.add_callback(done.set)
            yield from self._answer(method.name, request, context)
            self.stream_is_open.set()
            if not self.finish_streams:
                done.wait(WAIT_S)

        def upstream(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
            return self._answer(method.name, list(requests), context)

        request_class = GetMessageClass(method.input_type)
        if method.client_streaming:
            return grpc.stream_unary_rpc_method_handler(
                upstream, request_class.FromString, lambda message: message.SerializeToString()
            )
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        behaviour = stream if method.server_streaming else unary
        return make(behaviour, request_class.FromString, lambda message: message.SerializeToString())

    def _answer(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        self.asked.append((method, request))
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {TOKEN}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is not known here")
        answer = self.answers.get(method)
        if answer is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the test wrote no answer for {method}")
        if isinstance(answer, tuple):
            context.abort(*answer)
        return answer
