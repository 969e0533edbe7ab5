"""How the command line ends when it cannot serve: the client's errors, and two of its own beside them.

Error (homeport)        one line: what happened, why, what to do
├── CliError            what the command line itself could not do
│   └── UsageError      a flag or an answer is wrong; an Invalid too
└── Invalid, ...        what the client says of a call, a file or a document

What it does not cover: their words.
"""

from homeport.errors import Error, Invalid


class CliError(Error):
    pass


class UsageError(CliError, Invalid):
    pass


def exit_code(error: Error) -> int:
    """2: the caller's mistake, nothing was changed; 1: the work failed."""
    return 2 if isinstance(error, Invalid) else 1
