"""Modules that models import: `triton_python_backend_utils` and `mlserver`."""
