import pytest
from homeport_cli.durations import seconds
from homeport_cli.errors import UsageError


@pytest.mark.parametrize(
    ("text", "found"),
    [("30", 30), ("30s", 30), ("5m", 300), ("2h", 7200), ("3d", 259200), ("1w", 604800), (" 5 M ", 300)],
)
def test_a_duration_is_seconds(text: str, found: float) -> None:
    assert seconds(text, "--ttl") == found


@pytest.mark.parametrize("text", ["", "0", "0s", "-5m", "5 minutes", "1.5h", "off", "9999999999", "\u0665m"])
def test_what_is_no_duration_is_refused_with_the_flags_name(text: str) -> None:
    with pytest.raises(UsageError, match=r"--ttl: .* is not a duration"):
        seconds(text, "--ttl")
