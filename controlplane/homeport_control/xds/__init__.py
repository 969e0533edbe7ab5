"""Envoy configuration over ADS: snapshot to messages, the pure subscription machine, the stream."""
