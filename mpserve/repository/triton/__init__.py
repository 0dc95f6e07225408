"""Triton's model configuration: texts, defaults, checks and the definition made of it."""
