"""The configuration language: parse, validate, normalise."""
