"""Owns the repository, the lifecycle and every other process; is on no request's way."""
