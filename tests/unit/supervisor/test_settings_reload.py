"""Settings that are read again: what can not be read harms nothing."""

import asyncio
import os

import pytest

from mpserve.errors import ConfigError
from mpserve.settings import Settings
from mpserve.settings.reading import Reading
from mpserve.shm.server_id import claim_server_id, release_server_id
from mpserve.shm.server_note import ServerNote, read_note, write_note
from mpserve.supervisor.checkpoint import Checkpoint, checkpoint_files
from mpserve.supervisor.settings_reload import SettingsReload


class Root:
    """The supervisor's end of the root."""

    def __init__(self):
        self.told = []
        self.is_told = asyncio.Event()

    def settings_reloaded(self, status):
        self.told.append(status)
        self.is_told.set()


@pytest.fixture
def identity():
    identity = claim_server_id()
    write_note(identity, ServerNote(pid=os.getpid()))
    yield identity
    release_server_id(identity)


def read_again(identity, readings):
    """Carry out one reading after the other; return what was taken and what the root was told."""
    taken = []

    async def take(settings):
        taken.append(settings)
        return ""

    def reread():
        outcome = readings.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return Reading(settings=outcome, warnings=())

    async def run():
        root = Root()
        files = checkpoint_files()
        reload = SettingsReload(
            present=Settings(),
            reread=reread,
            take=take,
            reopen_log=lambda _path: None,
            root=root,
            identity=identity,
            checkpoint=Checkpoint(files),
        )
        running = asyncio.create_task(reload.run())
        while readings:
            root.is_told.clear()
            reload.ask()
            async with asyncio.timeout(30):
                await asyncio.wait(
                    (running, asyncio.ensure_future(root.is_told.wait())),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            assert not running.done(), running
        running.cancel()
        await asyncio.wait((running,))
        for fd in files:
            os.close(fd)
        return root.told

    return taken, asyncio.run(run())


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (ConfigError("x is wrong"), "x is wrong"),
        (ConfigError("'/a\udcff' is wrong"), "'/a?' is wrong"),
        (RuntimeError("nobody knew"), "internal error: RuntimeError('nobody knew')"),
    ],
)
def test_what_can_not_be_read_is_told_and_the_next_reading_is_taken(identity, fault, told):
    wanted = Settings(exit_timeout_secs=7)
    taken, statuses = read_again(identity, [fault, wanted])
    assert taken == [wanted]
    assert statuses == [
        f"serving; settings read again: nothing changed: {told}",
        "serving; settings read again: changed --exit-timeout-secs",
    ]
    assert read_note(identity) == ServerNote(
        pid=os.getpid(), readings=2, changed=("--exit-timeout-secs",)
    )
