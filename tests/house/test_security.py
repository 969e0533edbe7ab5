"""docs/security.md and docs/operations.md say what is so: each threat's test exists, each bound is the code's own."""

import re
from pathlib import Path

import pytest
from homeport_control import listeners
from homeport_control.agents import bounds, enrollment, server, sessions
from homeport_control.api import tokens, users
from homeport_control.domain import holding
from homeport_control.hold import waiting
from homeport_control.rest import endpoint, streaming
from homeport_control.rest import reading as rest_reading
from homeport_control.spec import env, reading, rollout, traffic
from homeport_control.trust import gateway_calls, guesses, pace
from homeport_control.web.connections import WebLimits

ROOT = Path(__file__).parents[2]
SECURITY = (ROOT / "docs/security.md").read_text()
BOUNDS = (ROOT / "docs/operations.md").read_text().partition("## Bounds\n")[2].partition("\n## ")[0]


def rows(text: str) -> dict[str, str]:
    """The table's cells after the first, by the first."""
    cells = [line.strip("|").split("|", 1) for line in text.splitlines() if line.startswith("| ")]
    return {first.strip(): rest.strip() for first, rest in cells}


def test_each_threat_names_tests_that_exist() -> None:
    section = SECURITY.partition("## Threats\n")[2].partition("\nWhat is **not**")[0]
    threats = [line for line in section.splitlines() if line.startswith("| ")][1:]
    defined = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert len(threats) > 15
    for threat in threats:
        named = re.findall(r"`(test_\w+)`", threat.rsplit("|", 2)[1])
        assert named, f"no test: {threat}"
        assert set(named) <= defined, set(named) - defined


@pytest.mark.parametrize(
    ("row", "numbers"),
    [
        ("a configuration file", (reading.MAX_DEPTH, reading.MAX_ITEMS, reading.MAX_VALUES, reading.MAX_TEXT)),
        ("`env`", (env.MAX_NAMES, env.MAX_ALL >> 20)),
        ("`replicas`, `rate_limits`, `probes`, names of a model", (rollout.MAX_REPLICAS, 20, 10, traffic.MAX_MODEL_NAMES)),
        (
            "a message to the API; of an agent or a gateway",
            (listeners.MAX_API_MESSAGE_BYTES >> 20, listeners.MAX_MESSAGE_BYTES >> 20, bounds.MOST_MESSAGE_BYTES >> 20),
        ),
        ("wrong tokens of one address; of all", (guesses.BURST, 1 / guesses.PER_S, guesses.ALL_BURST, guesses.ALL_PER_S)),
        (
            "hosts; users; valid tokens of one user; services that a token names",
            (enrollment.MAX_HOSTS, users.MAX_USERS, tokens.MAX_TOKENS, tokens.MAX_SERVICES),
        ),
        ("labels of a host", (enrollment.MAX_LABELS,)),
        (
            "what a host reports",
            (bounds.MOST_GPUS, bounds.MOST_REPLICAS, bounds.MOST_FINDINGS, bounds.MOST_IMAGES, bounds.MOST_NAME,
             bounds.MOST_SENTENCE, bounds.MOST_LINE),
        ),
        ("messages of an agent", (pace.MESSAGES_PER_S, pace.BURST, server.MOST_SESSIONS)),
        ("streams of one kind of a gateway's host", (gateway_calls.MOST_STREAMS,)),
        ("requests held for first replicas", (holding.MOST_HELD, waiting.MOST_PLACES)),
        ("lines of a log that wait for who reads them", (sessions.LOG_CREDIT, sessions.LOG_BYTES >> 20)),
        (
            "REST: a body; streams of one address, in all; how long a stream lasts",
            (
                listeners.MAX_API_MESSAGE_BYTES >> 20, rest_reading.READ_S, endpoint.MOST_STREAMS,
                endpoint.MOST_STREAMS_OF_ALL, streaming.STREAM_S,
            ),
        ),
        ("connections to the web port", (WebLimits().of_address, WebLimits().of_all, WebLimits().request_s)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_the_bounds_on_the_page_are_those_of_the_code(row: str, numbers: tuple[float, ...]) -> None:
    said = [int(number.replace(",", "")) for number in re.findall(r"\b[0-9][0-9,]*\b", rows(BOUNDS)[row])]
    assert [int(number) for number in numbers if int(number) not in said] == []
