"""What can go wrong in a run, and with which exit code it ends."""

from typing import ClassVar


class BenchError(Exception):
    """A run cannot go on; the message says what was wrong, where, and what would be right."""

    exit_code: ClassVar[int] = 1


class UsageError(BenchError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class MissingTool(BenchError):
    """A program or package that has to be installed first; the message says how."""

    exit_code = 2


class ServerFailed(BenchError):
    """A server did not start, gave a wrong answer or died while it was measured."""


class LoadFailed(BenchError):
    """The load generator failed or finished no request."""
