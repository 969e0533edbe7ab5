from homeport_agent.code.keep import KEEP_S, stale_contents, stale_manifests

NOW_S = 10 * KEEP_S


def test_code_of_a_replica_stays_however_long_ago_it_was_used() -> None:
    assert stale_manifests({"a": 0.0, "b": 0.0}, {"a"}, NOW_S) == ("b",)


def test_code_that_was_used_within_a_day_stays() -> None:
    assert stale_manifests({"a": NOW_S - KEEP_S + 1, "b": NOW_S - KEEP_S}, set(), NOW_S) == ("b",)


def test_a_content_goes_with_the_last_code_that_needs_it() -> None:
    assert stale_contents({"x": 0.0, "y": 0.0}, {"x"}, NOW_S) == ("y",)


def test_a_fresh_content_stays_though_no_code_is_known_to_need_it() -> None:
    assert stale_contents({"x": NOW_S - 1}, set(), NOW_S) == ()


def test_a_clock_that_was_set_back_removes_nothing() -> None:
    assert stale_manifests({"a": NOW_S + 5}, set(), NOW_S) == ()
