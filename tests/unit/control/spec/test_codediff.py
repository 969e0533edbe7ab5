import pytest
from homeport_control.spec.codediff import SHOWN, CodeFile, code_diff, files_text, size_text
from homeport_control.spec.diff import Change

A, B = "a" * 64, "b" * 64
OLD = {
    "/workflow/app.py": CodeFile(1200, 0o644, "1"),
    "/workflow/gone.py": CodeFile(10, 0o644, "2"),
    "/workflow/run.sh": CodeFile(20, 0o644, "3"),
    "/workflow/same.py": CodeFile(30, 0o644, "4"),
    "/workflow/tweaked.py": CodeFile(40, 0o644, "5"),
    "/workflow/link": CodeFile(0, 0, "", "app.py"),
    "/etc/app.conf": CodeFile(5, 0o644, "6"),
}
NEW = {
    "/workflow/app.py": CodeFile(1_300_000, 0o644, "11"),
    "/workflow/new.py": CodeFile(7, 0o644, "7"),
    "/workflow/run.sh": CodeFile(20, 0o755, "3"),
    "/workflow/same.py": CodeFile(30, 0o644, "4"),
    "/workflow/tweaked.py": CodeFile(40, 0o644, "55"),
    "/workflow/link": CodeFile(0, 0, "", "new.py"),
    "/etc/app.conf": CodeFile(6, 0o644, "66"),
}


def test_a_line_for_all_of_it_and_one_for_each_file_that_differs() -> None:
    assert code_diff(A, OLD, B, NEW) == (
        Change("code", "7 files, 1.3kB", "7 files, 1.3MB"),
        Change("files/etc/app.conf", "5B", "6B"),
        Change("code/app.py", "1.2kB", "1.3MB"),
        Change("code/gone.py", "10B", ""),
        Change("code/link", "-> app.py", "-> new.py"),
        Change("code/new.py", "", "7B"),
        Change("code/run.sh", "20B, 644", "20B, 755"),
        Change("code/tweaked.py", "40B", "40B, other content"),
    )


def test_equal_codes_do_not_differ() -> None:
    assert code_diff(A, OLD, A, OLD) == ()
    assert code_diff("", {}, "", {}) == ()


def test_the_first_ten_are_shown_and_all_are_counted() -> None:
    many = {f"/workflow/{index:03}": CodeFile(1, 0o644, "new") for index in range(50)}
    found = code_diff(A, {path: CodeFile(1, 0o644, "old") for path in many}, B, many)
    assert found[0] == Change("code", "50 files, 50B", f"50 files, 50B (50 differ, the first {SHOWN} are shown)")
    assert len(found) == 1 + SHOWN


def test_code_that_comes_or_goes_is_one_line() -> None:
    assert code_diff("", {}, B, NEW) == (Change("code", "", "7 files, 1.3MB"),)
    assert code_diff(A, OLD, "", {}) == (Change("code", "7 files, 1.3kB", ""),)


def test_code_that_is_not_known_any_more_is_told_by_its_id() -> None:
    assert code_diff(A, None, B, NEW) == (Change("code", "code aaaaaaaa", "7 files, 1.3MB"),)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1234, "1.2kB"), (200_000_000, "200MB"), (3 * 10**9, "3GB")],
)
def test_sizes_are_short(count: int, text: str) -> None:
    assert size_text(count) == text


def test_one_file_is_one() -> None:
    assert files_text({"/workflow/a": CodeFile(1, 0o644, "1")}) == "1 file, 1B"
    assert files_text({}) == "0 files, 0B"
