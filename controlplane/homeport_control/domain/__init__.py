"""Frozen nouns of the control plane. No behaviour beyond what a value knows of itself."""
