"""PURE: how long an agent waits before it tries for a session again: later and later, and never all agents at once.

A server that starts anew has all of them at its door: most of a thousand come within two seconds, and whoever
finds no room waits for twice as long, five seconds at most.
"""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0


def wait_s(pause_s: float, share: float) -> float:
    """`share`: a random number from 0 to 1, of each agent and each time another."""
    return pause_s * (0.5 + share / 2)


def longer_s(pause_s: float) -> float:
    """The next pause, when this one was for nothing."""
    return min(pause_s * 2, LONGEST_PAUSE_S)
