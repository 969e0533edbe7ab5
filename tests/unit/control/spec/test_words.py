import pytest
from homeport_control.spec.problems import Mistake
from homeport_control.spec.words import arguments, image, labels, python_version, resource_name, words


@pytest.mark.parametrize("name", ["ab", "llama31-service", "a" + "b" * 40])
def test_a_name_is_taken(name: str) -> None:
    assert resource_name(name) == name


@pytest.mark.parametrize("name", ["a", "A1", "1a", "a_b", "a" + "b" * 41, "ab\n", "", 5, None])
def test_what_cannot_be_a_name_is_refused(name: object) -> None:
    with pytest.raises(Mistake):
        resource_name(name)


@pytest.mark.parametrize(
    ("written", "read"), [("3.10", "3.10"), (3.1, "3.10"), (3.12, "3.12"), (3.9, "3.9"), ("3.14", "3.14")]
)
def test_a_version_of_python_is_read_even_as_yaml_reads_it(written: object, read: str) -> None:
    assert python_version(written) == read


@pytest.mark.parametrize("written", [3, 3.8, "3.8", "3.15", 2.7, "3", True, None, "3.10.1", float("nan")])
def test_other_versions_are_refused(written: object) -> None:
    with pytest.raises(Mistake):
        python_version(written)


@pytest.mark.parametrize("name", ["nginx", "ghcr.io/a/b:1.2", "localhost:5000/a@sha256:" + "0" * 64, "a/B_c:x"])
def test_an_image_is_taken(name: str) -> None:
    assert image(name) == name


@pytest.mark.parametrize("name", ["", "a b", "-a", "a\nb", 5, "a;b"])
def test_what_is_no_image_is_refused(name: object) -> None:
    with pytest.raises(Mistake):
        image(name)


def test_arguments_are_split_as_a_shell_does() -> None:
    assert arguments("sh -c 'a b'") == ["sh", "-c", "a b"]
    assert arguments(["a b"]) == ["a b"]
    with pytest.raises(Mistake, match="cannot be split"):
        arguments("a 'b")


def test_words_are_told_apart_and_kept_in_order() -> None:
    assert words(["b", " a ", "b"]) == ["b", "a"]
    with pytest.raises(Mistake):
        words(["a", 5])


def test_labels_are_pairs_in_either_form() -> None:
    assert labels({"rack": "a", "tier": 2}) == labels(["tier=2", "rack=a", "rack=a"]) == ["rack=a", "tier=2"]
    for value in ({"a b": "c"}, ["rack"], [5], {"rack": ""}, {"rack": None}):
        with pytest.raises(Mistake, match="not a label"):
            labels(value)
