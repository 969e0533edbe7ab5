from homeport import Denied, Error, Failed, Invalid, TooSlow
from homeport_cli.errors import CliError, UsageError, exit_code


def test_the_callers_mistakes_have_the_exit_code_2_and_everything_else_1() -> None:
    assert [exit_code(kind("x")) for kind in (Invalid, UsageError)] == [2, 2]
    assert [exit_code(kind("x")) for kind in (CliError, Error, Failed, Denied, TooSlow)] == [1, 1, 1, 1, 1]
