"""What a running server tells of itself."""

import os

import pytest

from mpserve.shm.server_id import claim_server_id, release_server_id
from mpserve.shm.server_note import ServerNote, living_notes, read_note, write_note


@pytest.fixture
def identity():
    identity = claim_server_id()
    yield identity
    release_server_id(identity)


@pytest.mark.parametrize("fault", ["", "short", "x" * 9000, "\x01" * 9000, "\U0001f600" * 9000])
def test_a_note_can_be_read_whatever_is_told(identity, fault):
    changed = tuple(f"--flag-{number}" for number in range(3))
    note = ServerNote(pid=os.getpid(), readings=2**40, changed=changed, fault=fault)
    write_note(identity, note)
    found = read_note(identity)
    assert (found.pid, found.readings) == (note.pid, note.readings)
    assert fault.startswith(found.fault)
    assert bool(found.fault) is bool(fault)
    assert found in living_notes()
    write_note(identity, ServerNote(pid=note.pid))
    assert read_note(identity) == ServerNote(pid=note.pid)
