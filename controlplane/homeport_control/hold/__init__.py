"""Requests that wait at a gateway's door for a first replica."""
