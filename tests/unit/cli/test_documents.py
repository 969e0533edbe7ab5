import pytest
from homeport_cli.documents import parse_settings, run_name
from homeport_cli.errors import UsageError


def test_a_flag_without_a_value_takes_the_callers() -> None:
    assert parse_settings(["A", "B="], {"A": "1"}) == {"A": "1", "B": ""}


def test_a_flag_for_a_variable_that_is_not_set_is_refused_in_the_words_of_the_reference() -> None:
    with pytest.raises(UsageError, match="Environment variable A is not set"):
        parse_settings(["A"], {})


@pytest.mark.parametrize("setting", ["", "=1", "1A=x", "A-B=secret", "A B"])
def test_a_malformed_flag_is_refused_without_its_value(setting: str) -> None:
    with pytest.raises(UsageError, match="-e: write NAME=VALUE") as caught:
        parse_settings([setting], {})
    assert "secret" not in str(caught.value)


def test_delete_needs_a_service_with_a_name() -> None:
    assert run_name('{"type": "service", "name": "web"}') == "web"
    with pytest.raises(UsageError, match="gives no `name`"):
        run_name('{"type": "service"}')
    with pytest.raises(UsageError, match="`fleet` is not supported yet"):
        run_name('{"type": "fleet", "name": "lab"}')
    with pytest.raises(UsageError, match="gives no `name`"):
        run_name("[]")
