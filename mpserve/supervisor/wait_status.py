"""What the kernel tells of a child: that it ended, was stopped, or goes on."""

import os
from typing import Final

from mpserve.control.spawner_messages import ChildExited, ChildStopped

WAITED_FOR: Final = os.WNOHANG | os.WUNTRACED | os.WCONTINUED


def told_by(pid: int, status: int) -> ChildExited | ChildStopped:
    """Return the message that tells a status of `waitpid(..., WAITED_FOR)`."""
    if os.WIFSTOPPED(status):
        return ChildStopped(pid=pid, is_stopped=True)
    if os.WIFCONTINUED(status):
        return ChildStopped(pid=pid, is_stopped=False)
    code = os.waitstatus_to_exitcode(status)
    return ChildExited(
        pid=pid,
        exit_code=code if code >= 0 else None,
        signal_number=-code if code < 0 else None,
    )
