"""What a gateway must know: one immutable snapshot, made by decide/routes, turned into Envoy's messages by xds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway: a role of one host. `domain` is what its services are published under ("localhost")."""

    name: str
    host_id: str
    listen_address: str
    http_port: int
    domain: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One replica behind a service. `draining` gets no new requests; the ones in flight go on."""

    replica_id: str
    address: str  # "127.0.0.1" on the loopback path
    port: int
    draining: bool = False


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


DEFAULT_TRAFFIC = Traffic()


@dataclass(frozen=True, slots=True)
class ServiceRoute:
    """One published service. Endpoints are sorted by replica id."""

    name: str  # the run's name; also the name of its cluster and its virtual host
    domains: tuple[str, ...]  # "hello.localhost" (any port is matched)
    auth: bool
    endpoints: tuple[Endpoint, ...] = ()
    model: PublishedModel | None = None
    forward_token: bool = False  # the replica sees the token that the caller sent
    traffic: Traffic = DEFAULT_TRAFFIC


@dataclass(frozen=True, slots=True)
class GatewaySnapshot:
    """Everything that one gateway serves. Equal values make equal configuration."""

    gateway: str
    listen_address: str
    http_port: int
    domain: str  # "localhost"
    services: tuple[ServiceRoute, ...] = ()  # sorted by name
    tokens: tuple[TokenGrant, ...] = ()  # sorted by hash


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
