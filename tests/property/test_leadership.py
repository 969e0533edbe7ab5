"""decide/leadership: of any servers that look, act on what they saw a moment ago, stop, and die, one writes in each term."""

from dataclasses import dataclass, replace

from homeport_control.decide.leadership import STALE_S, Lead, Renew, StepDown, decide
from homeport_control.domain.leadership import NOBODY, Lease
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

WHO = st.integers(0, 2)


@dataclass
class Server:
    name: str
    held_term: int = 0
    seen: Lease | None = None  # what it has looked at and not acted on yet
    saw_at_s: float = 0.0
    had_lock: bool = False


class Servers(RuleBasedStateMachine):
    """The database is a model of store/leadership.py: a row, a lock that ends with its holder, writes that check the term."""

    @initialize()
    def begin(self) -> None:
        self.now_s = 1000.0
        self.row, self.lock = NOBODY, ""
        self.servers = [Server(f"s{number}") for number in range(3)]
        self.lives = 3
        self.written: list[tuple[int, str]] = []

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, STALE_S, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(who=WHO)
    def look(self, who: int) -> None:
        server = self.servers[who]
        if not self.lock:
            self.lock = server.name
        server.seen, server.saw_at_s, server.had_lock = self.row, self.now_s, self.lock == server.name

    @rule(who=WHO)
    def act(self, who: int) -> None:
        """Any time after the look: it may have been stopped in between."""
        server = self.servers[who]
        if server.seen is None:
            return
        seen, server.seen = server.seen, None
        match decide(seen, server.name, server.held_term, has_lock=server.had_lock, now_s=server.saw_at_s):
            case Lead(term, _):
                if self.lock != server.name and self.lock in ("", seen.server):
                    self.lock = server.name  # its connections are ended
                if self.lock != server.name:
                    return
                if (self.row.term, self.row.renewed_at_s) == (seen.term, seen.renewed_at_s):
                    self.row = Lease(term, server.name, server.name, "", self.now_s, self.now_s)
                    server.held_term = term
                else:
                    self.lock = ""
            case Renew(term):
                if (self.row.term, self.row.server) == (term, server.name):
                    self.row = replace(self.row, renewed_at_s=self.now_s)
            case StepDown():
                server.held_term = 0

    @rule(who=WHO)
    def write(self, who: int) -> None:
        server = self.servers[who]
        if server.held_term and server.held_term == self.row.term:
            self.written.append((server.held_term, server.name))

    @rule(who=WHO)
    def dies_and_starts_anew(self, who: int) -> None:
        if self.lock == self.servers[who].name:
            self.lock = ""
        self.servers[who] = Server(f"s{self.lives}")
        self.lives += 1

    @rule(who=WHO)
    def loses_its_connection(self, who: int) -> None:
        if self.lock == self.servers[who].name:
            self.lock = ""
        self.servers[who].seen = None

    @invariant()
    def one_writes_in_each_term_and_terms_only_grow(self) -> None:
        if hasattr(self, "written"):
            assert len({term for term, _ in self.written}) == len(set(self.written)), self.written
            assert [term for term, _ in self.written] == sorted(term for term, _ in self.written)

    def teardown(self) -> None:
        """Whatever happened, those that look every half second have a leader soon."""
        if not hasattr(self, "servers"):
            return
        for _ in range(10):
            self.now_s += 0.5
            for who in range(3):
                self.look(who)
                self.act(who)
        leads = [it for it in self.servers if it.held_term == self.row.term]
        assert [it.name for it in leads] == [self.row.server]


Servers.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLeadership = Servers.TestCase
