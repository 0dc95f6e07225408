"""Samples, and what is made of them: tables, plots, comparisons."""
