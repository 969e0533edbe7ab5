import pytest
from homeport_control.spec.problems import BadDocument, Problem, closest, path_of, quoted


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ((), ""),
        (("resources", "gpu", "memry"), "resources.gpu.memry"),
        (("env", 2), "env[2]"),
        (("env", "ODD KEY"), 'env["ODD KEY"]'),
        (("a.b",), '["a.b"]'),
    ],
)
def test_a_path_is_written_with_dots_and_brackets(parts: tuple[str | int, ...], path: str) -> None:
    assert path_of(parts) == path


def test_the_closest_known_key_is_asked_for() -> None:
    assert closest("memry", ["memory", "count", "name"]) == "Did you mean `memory`?"


def test_a_key_that_is_like_none_gets_the_whole_list() -> None:
    assert closest("zzz", ["name", "count"]) == "Known: `count`, `name`"


def test_a_value_is_quoted_short_and_on_one_line() -> None:
    assert quoted("a\nb") == "`a b`"
    assert len(quoted("x" * 1000)) < 70
    assert quoted(True) == "`true`"


def test_a_bad_document_says_all_its_problems_in_one_line() -> None:
    error = BadDocument([Problem("port", "is missing"), Problem("", "is odd", "Mend it")])
    assert str(error) == "port: is missing; is odd. Mend it"
