"""What the server can vouch for: its private CA, tokens, and the sealing of secrets at rest."""
