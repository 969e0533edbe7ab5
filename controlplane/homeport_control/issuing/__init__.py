"""Certificates from authorities elsewhere."""
