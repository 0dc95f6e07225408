"""Messages by which frontends take settings that changed; rules as for `messages`."""

from mpserve.control.message import Message


class ChangeSettings(Message, frozen=True, kw_only=True):
    """Go on by these settings, which differ in nothing that may not change (`settings.change`).

    Told again with equal settings to have files read again that they name.
    """

    number: int
    settings_json: bytes


class SettingsTaken(Message, frozen=True, kw_only=True):
    """The settings of this number hold; `fault` says what could not be used, "" for nothing."""

    number: int
    fault: str
