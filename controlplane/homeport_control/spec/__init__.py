"""The configuration language: parse, validate, normalise. The only place that knows its keys.

`document.parse` is the door; `support.unsupported` says what is not carried out yet; `diff.diff` compares two versions.
Imports pydantic and nothing of the server.
"""
