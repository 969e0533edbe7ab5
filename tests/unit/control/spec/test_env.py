import pytest
from homeport_control.spec.env import RegistryAuth, Secrets, entries, fill, registry_auth, wanted
from homeport_control.spec.problems import Problem

SECRET = "s3cr3t-value"


@pytest.mark.parametrize(
    "env",
    [
        ["A=1", "B=two=2", "C="],
        {"A": 1, "B": "two=2", "C": ""},
        [{"A": 1}, "B=two=2", "C="],
    ],
)
def test_a_list_and_a_map_mean_the_same(env: object) -> None:
    assert fill(env, {}) == ({"A": "1", "B": "two=2", "C": ""}, ())


def test_numbers_and_booleans_of_a_map_are_text_as_json_writes_them() -> None:
    assert fill({"A": True, "B": 1.5, "C": 7}, {})[0] == {"A": "true", "B": "1.5", "C": "7"}


def test_names_without_a_value_are_wanted() -> None:
    assert wanted(["A", "B=1", "C"]) == ("A", "C")
    assert wanted({"A": None, "B": "", "C": "x"}) == ("A",)
    assert wanted(None) == ()
    assert wanted("A") == ()


def test_the_callers_values_win_and_new_ones_are_added() -> None:
    assert fill(["A", "B=1"], {"A": "a", "B": "2", "C": "c"}) == ({"A": "a", "B": "2", "C": "c"}, ())


def test_a_name_that_nobody_gives_is_a_problem_that_says_what_to_do() -> None:
    _, problems = fill(["X=1", "TOKEN"], {})
    assert problems == (
        Problem(
            "env[1]",
            "Environment variable TOKEN is not set",
            "Pass it with `-e TOKEN=VALUE`, or set it where you run the command",
        ),
    )


@pytest.mark.parametrize(
    ("env", "path", "message"),
    [
        (["A=1", "A=2"], "env[1]", "duplicate environment variable A"),
        (["A", "A=2"], "env[1]", "duplicate environment variable A"),
        (["=1"], "env[0]", "is not the name of a variable"),
        ({"a b": "1"}, 'env["a b"]', "is not the name of a variable"),
        ([5], "env[0]", "must be `NAME` or `NAME=value`"),
        ({"A": []}, "env.A", "must be text"),
        ("A=1", "env", "must be a list or a map"),
    ],
)
def test_a_wrong_entry_is_told_with_its_place(env: object, path: str, message: str) -> None:
    _, (problem,) = entries(env)
    assert (problem.path, problem.message) == (path, message)


def test_a_value_that_cannot_be_passed_to_a_program_is_refused_without_showing_it() -> None:
    for value in (SECRET + "\0", SECRET * 20_000, SECRET + "\ud800"):
        _, (problem,) = fill(None, {"A": value})
        assert SECRET not in str(problem)


def test_registry_auth_takes_values_of_env() -> None:
    auth, problems = registry_auth({"username": "$oauthtoken", "password": "${{ env.KEY }}"}, {"KEY": SECRET})
    assert problems == ()
    assert auth == RegistryAuth("$oauthtoken", SECRET)
    assert SECRET not in repr(auth)


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        (
            {"username": "u", "password": "${{ env.NO }}"},
            "registry_auth.password",
            "Environment variable NO is not set",
        ),
        (
            {"username": "u", "password": "${{ secrets.A }}"},
            "registry_auth.password",
            "only `${{ env.NAME }}` can stand here",
        ),
        ({"username": "u"}, "registry_auth.password", "is missing"),
        ({"username": [], "password": "p"}, "registry_auth.username", "must be text"),
        ({"username": "u", "password": "p", "user": "x"}, "registry_auth.user", "unknown key `user`"),
        ("u:p", "registry_auth", "must be a map of `username` and `password`"),
    ],
)
def test_a_wrong_registry_auth_is_told_with_its_place(value: object, path: str, message: str) -> None:
    auth, (problem,) = registry_auth(value, {})
    assert auth is None
    assert (problem.path, problem.message) == (path, message)


def test_secrets_go_to_json_and_back_and_show_no_value() -> None:
    secrets = Secrets(env={"A": SECRET}, registry_auth=RegistryAuth("user", SECRET))
    assert Secrets.from_json(secrets.to_json()) == secrets
    assert Secrets.from_json(Secrets().to_json()) == Secrets()
    assert repr(secrets) == str(secrets) == "Secrets(env=[A], registry_auth=***)"
