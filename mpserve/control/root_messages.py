"""Messages between the root and the supervisor; rules as for `messages`."""

from mpserve.control.message import Message
from mpserve.control.messages import SetLog
from mpserve.control.spawner_messages import ChildExited, ChildStopped


class StopServer(Message, frozen=True, kw_only=True):
    """The server was sent a signal to end: the first asks for an orderly end, the second hurries.

    Told again to a supervisor that takes over.
    """

    signal_number: int


class ReloadSettings(Message, frozen=True, kw_only=True):
    """Read the settings again; told again to the next supervisor when this one does not answer."""


class SettingsReloaded(Message, frozen=True, kw_only=True):
    """Every `ReloadSettings` so far was carried out, or refused."""


class Alive(Message, frozen=True, kw_only=True):
    """The supervisor's event loop turns. From the first one on, silence means that it hangs."""


class Notice(Message, frozen=True, kw_only=True):
    """Lines for the service manager, which listens to the root only."""

    lines: tuple[str, ...]


class ServerEnded(Message, frozen=True, kw_only=True):
    """The supervisor ends on purpose: it is not to be replaced."""

    exit_code: int


ToRoot = Alive | Notice | SetLog | SettingsReloaded | ServerEnded
FromRoot = StopServer | ReloadSettings | ChildExited | ChildStopped
