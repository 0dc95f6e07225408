"""Who watches the health of the server."""

from mpserve.control.messages import PublishTable
from mpserve.frontend.handlers.health import Health


def table(number: int, *, is_ready: bool) -> PublishTable:
    return PublishTable(
        number=number, changed=(), removed=(), server_ready=is_ready, server_live=True
    )


def test_a_watcher_is_told_what_changed_and_not_each_table():
    health, seen = Health(), []
    health.watch(lambda: seen.append((health.is_live, health.is_ready)))
    for number, is_ready in enumerate([False, False, True, True, True, False]):
        health.apply(table(number, is_ready=is_ready))
    assert seen == [(True, False), (True, True), (True, False)]


def test_a_stop_is_told_once_and_to_nobody_who_left():
    health, seen, gone = Health(), [], []
    health.apply(table(1, is_ready=True))
    health.watch(lambda: seen.append(health.is_ready))
    leaver = lambda: gone.append(1)  # noqa: E731
    health.watch(leaver)
    health.unwatch(leaver)
    health.stop()
    health.stop()
    assert (seen, gone) == ([False], [])
