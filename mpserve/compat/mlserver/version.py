"""Version of MLServer that the names and the behaviour follow."""

__version__ = "1.7.1"
