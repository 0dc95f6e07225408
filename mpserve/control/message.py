"""What all messages on the control sockets have in common."""

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of all messages."""
