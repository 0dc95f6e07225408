"""Microbenchmarks of single pieces, run by hand."""
