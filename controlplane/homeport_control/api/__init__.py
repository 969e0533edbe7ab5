"""gRPC for users: plan, apply, watch, stop, logs, tokens."""
