"""The small HTTPS surface: the CA certificate for those who pin it."""
