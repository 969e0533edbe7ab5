"""A gateway host's Envoy: installed by hash, configured to ask the server, kept alive by a parent of its own."""
