"""The control plane's errors, drawn first, then repeated as classes.

HomeportError                     one line for a user: what happened, why, what to do
├── BadRequest                    the caller's fault (exit code 2 at the command line)
├── NotFound
├── Denied                        unknown, expired or revoked token, or too small a role
├── Conflict                      true when it was asked, not any more (a plan that is stale, a name that is taken)
├── NotReady                      the system cannot do it now: no gateway, no host, the database is locked
└── NotLeading                    another server leads by now: nothing was written; its caller tries again there
"""


class HomeportError(Exception):
    """`str(error)` is the whole line that a user reads."""


class BadRequest(HomeportError):
    pass


class NotFound(HomeportError):
    pass


class Denied(HomeportError):
    pass


class Conflict(HomeportError):
    pass


class NotReady(HomeportError):
    pass


class NotLeading(HomeportError):
    pass
