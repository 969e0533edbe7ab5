"""What was called: requests and tokens, counted by gateways and kept in totals."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UsageKey:
    """Whose requests a total is of. What a question does not tell apart is empty."""

    from_s: int = 0  # the beginning of its hour or day, unix time
    token_id: str = ""  # empty: the service asks for no token
    service: str = ""
    model: str = ""  # empty: it was not called as a model
    user: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """What one gateway counted up to a place in its access log."""

    place: str  # empty: there is no such log any more
    counts: tuple[tuple[UsageKey, Usage], ...]
    missed: bool = False  # what came before is not there any more
