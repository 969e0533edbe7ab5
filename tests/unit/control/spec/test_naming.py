from homeport_control.spec.naming import random_name
from homeport_control.spec.words import resource_name


def test_equal_randomness_gives_equal_names() -> None:
    assert random_name(b"12345678") == random_name(int.from_bytes(b"12345678")) == random_name(b"12345678")


def test_names_differ_and_can_be_names() -> None:
    names = {random_name(number * 7919) for number in range(500)}
    assert len(names) == 500
    assert {resource_name(name) for name in names} == names


def test_a_name_is_adjective_animal_number() -> None:
    adjective, animal, number = random_name(0).split("-")
    assert adjective.isalpha()
    assert animal.isalpha()
    assert number == "1"
