"""Composition root of the server."""
