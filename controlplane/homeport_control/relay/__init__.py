"""The door of every server: calls are answered here by the one that leads, and passed on to it by all others."""
