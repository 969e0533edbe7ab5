"""What a host needs before it can serve: looks (machine, container), judgements (checks), and both together (examine)."""
