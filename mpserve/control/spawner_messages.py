"""Messages between the supervisor and the spawner, and between the spawner and its templates."""

import msgspec

from mpserve.control.message import Message
from mpserve.settings.worker_user import WorkerUser


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """Another program in place of a fork of the spawner.

    Attributes
    ----------
    environment
        Absolute path of a Python environment, a folder or a packed one; "" for the server's own.
    is_activated
        The environment must have `bin/activate`.
    environments_directory
        Where packed environments are unpacked.
    preload
        Shared library to be loaded before all others, "" for none.
    """

    environment: str
    environments_directory: str
    preload: str
    is_activated: bool = False


class Birth(msgspec.Struct, frozen=True, kw_only=True):
    """How a process is made.

    Attributes
    ----------
    program
        The fork replaces itself by it.
    threads
        Of its numerical libraries; 0 where that does not matter.
    user
        Whom it runs as; `None` for the server's own user.
    closes
        Inherited descriptors that another user's process must not have.
    template
        Number of the process that has loaded its model and forks it; 0 for the spawner.
    preload
        Modules that the spawner imports first, once for this process and all that come after it.
    """

    program: Program | None = None
    threads: int = 0
    template: int = 0
    user: WorkerUser | None = None
    closes: tuple[int, ...] = ()
    preload: tuple[str, ...] = ()


class Spawn(Message, frozen=True, kw_only=True):
    """Fork a process.

    Two file descriptors come along (SCM_RIGHTS): the child's end of its control socket, and what
    becomes its stderr. `role` is a row of the spawner's table of entry points; `start` the
    `WorkerStart` or `FrontendStart` as MessagePack.
    """

    spawn_id: int
    role: str
    title: str
    start: bytes
    birth: Birth = Birth()


class Spawned(Message, frozen=True, kw_only=True):
    """The child runs."""

    spawn_id: int
    pid: int


class SpawnFailed(Message, frozen=True, kw_only=True):
    """The system refused to fork."""

    spawn_id: int
    reason: str


class ChildExited(Message, frozen=True, kw_only=True):
    """A child ended and was reaped. `exit_code` is `None` when a signal ended it."""

    pid: int
    exit_code: int | None
    signal_number: int | None


class ChildStopped(Message, frozen=True, kw_only=True):
    """A child was stopped by a signal, or (`is_stopped` false) goes on."""

    pid: int
    is_stopped: bool


class SpawnerBack(Message, frozen=True, kw_only=True):
    """First words to a supervisor that has taken over: who lives, and who ended last."""

    living: tuple[Spawned, ...]
    ended: tuple[ChildExited, ...]


class EndTemplate(Message, frozen=True, kw_only=True):
    """No instance is forked from this template any more."""

    template: int


class ReopenLog(Message, frozen=True, kw_only=True):
    """Write the last words to the log's file of this name; the former one was moved away."""

    path: str


class StopSpawner(Message, frozen=True, kw_only=True):
    """Exit when no child is left."""


ToSpawner = Spawn | EndTemplate | ReopenLog | StopSpawner
FromSpawner = Spawned | SpawnFailed | ChildExited | ChildStopped | SpawnerBack
