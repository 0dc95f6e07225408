"""Model server for Python models that speaks Triton's and MLServer's protocols."""

__version__ = "0.1.0"
