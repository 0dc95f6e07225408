"""When a process that died is started again, and when that is given up.

Source: the restart intensity of Erlang/OTP's supervisor: a number of deaths within a period.
"""

from typing import Final

import msgspec

_SECOND_NS: Final = 1_000_000_000


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How much dying is too much.

    The first death is answered by an immediate start; then the delay doubles from `first_delay_ns`
    to `max_delay_ns`. `max_deaths` deaths within `window_ns` are one too many. The defaults spread
    eight starts over about three seconds, so a machine that is short of something for a moment is
    ridden out, and a model that dies at once is told about soon.
    """

    max_deaths: int = 8
    window_ns: int = 60 * _SECOND_NS
    first_delay_ns: int = 50_000_000
    max_delay_ns: int = 5 * _SECOND_NS


class Deaths(msgspec.Struct, frozen=True, kw_only=True):
    """Deaths of one process in the present window, oldest first (monotonic clock)."""

    at_ns: tuple[int, ...] = ()


def record_death(deaths: Deaths, *, now_ns: int, policy: RestartPolicy) -> Deaths:
    """Return `deaths` with one more, without those that have left the window."""
    recent = tuple(at for at in deaths.at_ns if now_ns - at < policy.window_ns)
    return Deaths(at_ns=(*recent, now_ns))


def restart_at_ns(deaths: Deaths, *, policy: RestartPolicy) -> int | None:
    """Return when to start again after the last death; `None` to give up."""
    count = len(deaths.at_ns)
    if count >= policy.max_deaths:
        return None
    delay_ns = 0 if count <= 1 else policy.first_delay_ns << (count - 2)
    return deaths.at_ns[-1] + min(delay_ns, policy.max_delay_ns)
