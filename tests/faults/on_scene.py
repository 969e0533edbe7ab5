"""What the cells of hosts and gateways have in common: how long a fault lasts, and what of plain requests never fails."""

from faults.measure import Measuring
from rig.load_client import Kind


def lasting(it: Measuring, seconds: float) -> None:
    """The fault has lasted so long when this returns; requests run all the while, answered or not."""
    answered = it.client.results.answered
    it.lasts(seconds)
    assert it.client.results.answered > answered, "no request ran while the fault lasted"


def no_get_failed(it: Measuring) -> None:
    """Of the plain ones those with an odd number are a POST, which nobody may send twice."""
    gets = [each for each in it.client.results.failures if each.kind is Kind.PLAIN and each.number % 2 == 0]
    assert gets == [], it.client.results.table()
