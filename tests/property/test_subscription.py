"""Whatever is published, refused or cut off: an Envoy never routes to a cluster that is not warm, and ends up with the
last world."""

from collections import defaultdict

from homeport_control.xds.subscription import CDS, EDS, LDS, RDS, Request, Resource, Response, Subscription, World
from hypothesis import example, given, settings
from hypothesis import strategies as st

SERVICES = ("a", "b", "c")


def make(version: int, services: dict[str, tuple[int, int]]) -> World:
    """`services`: name -> (version of its cluster, of its endpoints). The route's version names who is in it."""
    return World(
        version,
        {
            LDS: {"http": Resource("http", "1", b"")},
            RDS: {"r": Resource("r", ",".join(sorted(services)), b"")},
            CDS: {name: Resource(name, str(c), b"") for name, (c, _) in services.items()},
            EDS: {name: Resource(name, str(e), b"") for name, (_, e) in services.items()},
        },
    )


class Envoy:
    """As the real one holds it: a changed cluster is cold until its endpoints come; names are asked for once."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, str]] = defaultdict(dict)
        self.warm: set[str] = set()
        self.subscribed: set[str] = set()

    def hello(self, stream: Subscription) -> None:
        for kind in (CDS, EDS, LDS, RDS):
            names = {EDS: tuple(self.subscribed), RDS: ("r",)}.get(kind, ())
            if kind != EDS or names:
                held = {n: v for n, v in self.held[kind].items() if kind != EDS or n in self.subscribed}
                stream.receive(Request(kind, subscribe=names, initial_versions=held))

    def take(self, response: Response, stream: Subscription) -> None:
        held = self.held[response.type_url]
        for name in response.removed:
            held.pop(name, None)
        held.update({resource.name: resource.version for resource in response.resources})
        names = {resource.name for resource in response.resources}
        if response.type_url == EDS:
            self.warm |= names
        stream.receive(Request(response.type_url, response.nonce))
        if response.type_url == CDS:
            self.warm -= names | set(response.removed)
            new, gone = names - self.subscribed, self.subscribed & set(response.removed)
            self.subscribed = (self.subscribed | new) - gone
            for name in gone:
                self.held[EDS].pop(name, None)
            if new or gone:
                stream.receive(Request(EDS, subscribe=tuple(sorted(new)), unsubscribe=tuple(sorted(gone))))

    def check(self) -> None:
        routed = set(filter(None, self.held[RDS].get("r", "").split(",")))
        assert routed <= self.held[CDS].keys(), "a route leads to a cluster that is not there"
        assert routed <= self.held[EDS].keys(), "a route leads to a cluster that never had endpoints"


worlds = st.dictionaries(st.sampled_from(SERVICES), st.tuples(st.integers(1, 2), st.integers(1, 3)))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), worlds),
        st.tuples(st.just("deliver"), st.none()),
        st.tuples(st.just("cut"), st.none()),
    ),
    max_size=40,
)


@given(first=worlds, story=steps)
# Cut between a changed cluster and its endpoints, which Envoy holds in this very version.
@example(
    first={"a": (2, 1)}, story=[*[("deliver", None)] * 3, ("publish", {"a": (1, 1)}), ("deliver", None), ("cut", None)]
)
# Wanted again while its removal is under way.
@example(
    first={},
    story=[
        ("deliver", None),
        ("publish", {"a": (1, 1)}),
        *[("deliver", None)] * 4,
        ("publish", {}),
        ("publish", {"a": (1, 1)}),
    ],
)
# Not wanted any more while the routes to it are under way.
@example(
    first={},
    story=[
        ("deliver", None),
        ("publish", {"a": (1, 1)}),
        *[("deliver", None)] * 4,
        ("publish", {"a": (1, 1)}),
        ("publish", {}),
    ],
)
@settings(max_examples=400, deadline=None)
def test_an_envoy_ends_with_the_last_world_and_never_routes_into_the_cold(
    first: dict[str, tuple[int, int]], story: list[tuple[str, object]]
) -> None:
    envoy, stream, version = Envoy(), Subscription(), 1
    wanted = make(version, first)
    stream.set_world(wanted)
    envoy.hello(stream)
    on_the_way: list[Response] = []

    def deliver() -> None:
        on_the_way.extend(stream.responses())
        if on_the_way:  # a stream keeps its order: only the oldest can arrive
            envoy.take(on_the_way.pop(0), stream)
            envoy.check()

    for what, value in story:
        if what == "publish":
            version += 1
            wanted = make(version, value)  # type: ignore[arg-type]
            stream.set_world(wanted)
            on_the_way.extend(stream.responses())
        elif what == "deliver":
            deliver()
        else:
            stream, on_the_way = Subscription(), []
            stream.set_world(wanted)
            envoy.hello(stream)

    for _ in range(50):
        deliver()
    assert stream.acked_version == version
    for kind in (CDS, RDS, LDS):
        assert envoy.held[kind] == {name: r.version for name, r in wanted.of(kind).items()}
    assert {n: envoy.held[EDS].get(n) for n in wanted.of(CDS)} == {n: r.version for n, r in wanted.of(EDS).items()}
    assert wanted.of(CDS).keys() <= envoy.warm
