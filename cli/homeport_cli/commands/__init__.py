"""One verb, one file: flags in, a call, an answer shown. No logic: that is in render, progress, client and the server."""

import typer


def verbs(help_line: str | None = None) -> typer.Typer:
    """A Typer application for a module of this folder: plain help, no completion flags, tracebacks as Python makes them."""
    return typer.Typer(
        help=help_line,
        no_args_is_help=help_line is not None,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
