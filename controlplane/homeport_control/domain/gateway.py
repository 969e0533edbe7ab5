"""Gateways, and what one must know: an immutable snapshot, made by decide/routes, turned into Envoy's messages by xds."""

from dataclasses import dataclass, field

LOCAL = "local"  # the machine of the server, as a gateway's host; and the name of the gateway that a fresh server has
TUNNEL = "tunnel/"  # and a host's id: in place of an address, that of an endpoint behind a tunnel
HTTP3_LISTENER = "http3"  # its name at Envoy, which says it when it cannot have it
HTTP3_OFF = "HTTP/3 is off, and tried again each minute"  # how such a refusal begins
MODELS_LABEL = "gateway"  # the first label of the name at which models are called


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where the certificates of a gateway come from, as its owner wrote it."""

    type: str = "none"  # none, self-signed, files, acme, lets-encrypt
    email: str = ""
    directory: str = ""
    cert: str = ""
    key: str = ""
    hook: str = ""  # a program on the server's machine that sets the TXT records of proofs; empty: proved over HTTP


@dataclass(frozen=True, slots=True)
class Gateway:
    """A role of one host. `domain` is what its services are published under ("localhost")."""

    name: str
    host_id: str  # empty: none has its role yet
    listen_address: str
    http_port: int
    domain: str
    https_port: int = 0  # 0: it speaks no TLS
    wanted_host: str = LOCAL  # as its owner wrote it
    certificate: Certificate = Certificate()
    trusted_addresses: tuple[str, ...] = ()  # of proxies before it, whose X-Forwarded-Proto counts
    http3: bool = False  # by UDP at the port for HTTPS
    default: bool = False  # publishes the services that name none
    applied: bool = False  # an owner's file made it; False: the server's own, which follows the server's settings
    old_domain: str = ""  # served beside the new one until that is acknowledged
    ready: bool = False  # its Envoy runs, as the host's agent says
    message: str = ""  # why it does not
    refused: str = ""  # why Envoy refused what it was given last, or HTTP/3 alone
    created_at_s: float = 0.0

    @property
    def has_tls(self) -> bool:
        return self.https_port != 0

    def url_of(self, run_name: str, *, https: bool = True) -> str:
        """`https`: the service is published there, if the gateway has a certificate."""
        if self.has_tls and https:
            return f"https://{run_name}.{self.domain}{'' if self.https_port == 443 else f':{self.https_port}'}"
        return f"http://{run_name}.{self.domain}{'' if self.http_port == 80 else f':{self.http_port}'}"

    @property
    def models_url(self) -> str:
        """Where models are called by their names, in OpenAI's way."""
        return f"{self.url_of(MODELS_LABEL)}/v1"

    @property
    def listens(self) -> tuple[tuple[str, int], ...]:
        return tuple((self.listen_address, port) for port in (self.http_port, self.https_port) if port)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One replica behind a service. `draining` gets no new requests; the ones in flight go on."""

    replica_id: str
    address: str  # "127.0.0.1" on the loopback path; see TUNNEL
    port: int
    draining: bool = False
    host_id: str = ""  # on the direct path: whose door it is, by certificate; empty on the others

    @property
    def is_tunnelled(self) -> bool:
        return self.address.startswith(TUNNEL)


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """Who may call. The control plane holds only the hash of a token: sha256 in lower-case hex."""

    token_sha256: str
    services: tuple[str, ...] = ()  # run names; empty: every service
    token_id: str = ""  # as `homeport token list` shows it: how the access log says who called


DEFAULT_MODEL_WEIGHT = 100


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """The model that a service answers for, called by its name at gateway.<domain>/v1 in OpenAI's way."""

    name: str
    prefix: str = "/v1"  # where the service itself has /chat/completions and the others
    created_at_s: int = 0  # what GET /v1/models says of it
    aliases: tuple[str, ...] = ()  # further names
    ready: bool = True  # a replica of it is in rotation: who is not gets nothing while another one is
    weight: int | None = None  # set: it shares its names with the other services that declare them

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)

    @property
    def share(self) -> int:
        """Of the requests for a name that several services declare, against the shares of the others."""
        return DEFAULT_MODEL_WEIGHT if self.weight is None else self.weight


@dataclass(frozen=True, slots=True)
class RateRule:
    """Requests per second of one caller; more are answered 429."""

    prefix: str  # of the path, as the replica sees it
    rps: float
    burst: int = 0
    key: str = "ip"  # who is a caller: ip, header, token
    header: str = ""


@dataclass(frozen=True, slots=True)
class Affinity:
    """What keeps requests together on one replica."""

    kind: str  # header, cookie, prefix
    name: str = ""  # of the header or cookie
    length: int = 0  # bytes of the prompt


@dataclass(frozen=True, slots=True)
class Traffic:
    """How the gateway treats the requests of a service."""

    affinity: Affinity | None = None
    rate_limits: tuple[RateRule, ...] = ()
    response_timeout_s: int | None = None
    idle_timeout_s: int | None = 3600
    h2c: bool = False  # HTTP/2 without TLS to the replica
    max_body_bytes: int | None = None  # of a request; None: as much as comes


DEFAULT_TRAFFIC = Traffic()


@dataclass(frozen=True, slots=True)
class ServedCertificate:
    """What the gateway shows to who calls it by a name."""

    name: str  # empty: to who says none; "*": to all who call by HTTP/3
    chain_pem: str
    key_pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Proof:
    """What a name must answer over HTTP, so that an authority sees that it is ours."""

    name: str
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class ServiceRoute:
    """One published service. Endpoints are sorted by replica id."""

    name: str  # the run's name; also the name of its cluster and its virtual host
    domains: tuple[str, ...]  # "hello.localhost" (any port is matched)
    auth: bool
    endpoints: tuple[Endpoint, ...] = ()
    model: PublishedModel | None = None
    plain: bool = True  # HTTP reaches it; False: it is sent to HTTPS
    secure: bool = False  # HTTPS reaches it
    forward_token: bool = False  # the replica sees the token that the caller sent
    traffic: Traffic = DEFAULT_TRAFFIC
    sleeps: bool = False  # it may have no replica at all
    held: bool = False  # no replica serves and one may come: requests wait for it


@dataclass(frozen=True, slots=True)
class GatewaySnapshot:
    """Everything that one gateway serves. Equal values make equal configuration."""

    gateway: str
    listen_address: str
    http_port: int
    domain: str  # "localhost"
    services: tuple[ServiceRoute, ...] = ()  # sorted by name
    tokens: tuple[TokenGrant, ...] = ()  # sorted by hash
    old_domain: str = ""  # models are called there too, until the new one is acknowledged
    https_port: int = 0  # 0: it speaks no TLS
    certificates: tuple[ServedCertificate, ...] = ()  # sorted by name
    plain_models: bool = True  # models are called by HTTP too; False: who does is sent to HTTPS
    trusted_addresses: tuple[str, ...] = ()  # of the proxies before it
    http3: bool = False
    proofs: tuple[Proof, ...] = ()  # sorted
    tunnel_mark: str = ""  # see decide/paths


@dataclass(frozen=True, slots=True)
class EndpointLoad:
    """Requests at one endpoint of one service, as the gateway counted them in one interval."""

    service: str
    address: str
    port: int
    in_flight: int  # at its end
    issued: int = 0  # sent to it in it
    succeeded: int = 0  # answered in it
    errors: int = 0


@dataclass(frozen=True, slots=True)
class LoadReport:
    """One report of one gateway. An endpoint that is not in it got nothing and has nothing in flight."""

    gateway: str
    received_at_s: float
    endpoints: tuple[EndpointLoad, ...]
    interval_s: float = 1.0  # in which was counted
    late_s: float = 0.0  # how long ago that ended, beyond what is usual (load/lateness.py)
