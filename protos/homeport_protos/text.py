"""Text that came from somebody else, as it may stand in a line of an error, a log or a table.

Covers characters that a terminal would obey (escape sequences, line ends, marks that turn the direction of text) and
length. What is a log's own line is left as it is: that is not ours to change.
"""

MOST = 1000


def one_line(text: str, most: int = MOST) -> str:
    """Printable, on one line: `a\\x1b[2J` for an escape, and cut where it is longer than `most` characters."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
