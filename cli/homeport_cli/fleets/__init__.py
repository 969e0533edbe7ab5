"""Fleets over SSH: what `apply` of a fleet does on the caller's machine, where the keys are."""
