"""Containers: the port (base) and Docker behind it (docker)."""
