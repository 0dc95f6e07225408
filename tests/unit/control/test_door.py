"""The door: who lost its supervisor comes back to the next one, or learns that it is alone."""

import asyncio
import os
import subprocess
import sys

from mpserve.control.door import NO_DOOR, Caller, Doorkeeper, make_door, ring

CALLER = Caller(process_index=3, epoch=7, pid=os.getpid())


def test_a_call_waits_until_somebody_opens():
    async def scenario():
        inner, outer = make_door()
        calls = []
        with inner, outer:
            read_fd, write_fd = os.pipe()
            with ring(outer.fileno(), CALLER, stderr_fd=read_fd) as ours:
                os.close(read_fd)
                keeper = Doorkeeper(inner, calls.append)
                async with asyncio.timeout(30):
                    while not calls:  # noqa: ASYNC110  # a callback of the loop
                        await asyncio.sleep(0.001)
                (call,) = calls
                assert call.caller == CALLER
                call.control.sendall(b"hello")
                assert ours.recv(16) == b"hello"
                os.write(write_fd, b"last words")
                assert os.read(call.stderr_fd, 16) == b"last words"
                call.control.close()
            os.close(call.stderr_fd)
            os.close(write_fd)
            keeper.close()

    asyncio.run(scenario())


def test_who_rings_is_known_by_the_kernels_word():
    async def scenario():
        inner, outer = make_door()
        calls = []
        with inner, outer:
            keeper = Doorkeeper(inner, calls.append)
            claimed = Caller(process_index=3, epoch=7, pid=1)
            with ring(outer.fileno(), claimed) as ours:
                async with asyncio.timeout(30):
                    while not calls:  # noqa: ASYNC110  # a callback of the loop
                        await asyncio.sleep(0.001)
                assert ours.fileno() >= 0
            (call,) = calls
            call.control.close()
            keeper.close()
        return call

    call = asyncio.run(scenario())
    assert (call.caller, call.uid) == (CALLER, os.getuid())


def test_behind_a_closed_door_is_nobody():
    inner, outer = make_door()
    inner.close()
    with outer:
        assert ring(outer.fileno(), CALLER) is None
    assert ring(NO_DOOR, CALLER) is None


def test_a_full_door_is_told_to_who_can_not_wait():
    inner, outer = make_door()
    kept = []
    with inner, outer:
        try:
            while len(kept) < 100_000:
                kept.append(ring(outer.fileno(), CALLER, wait=False))
        except BlockingIOError:
            return
        finally:
            for end in kept:
                end.close()
    raise AssertionError("the door took everybody")


def test_a_child_keeps_its_stderr_readable():
    code = (
        "import os; from mpserve.control.door import own_stderr; fd = own_stderr();"
        "os.write(2, b'words'); print(os.read(fd, 16).decode())"
    )
    read_fd, write_fd = os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=write_fd, check=True
    )
    os.close(read_fd)
    os.close(write_fd)
    assert done.stdout == b"words\n"


def test_a_stderr_that_is_no_pipe_is_nobodys_to_read(tmp_path):
    code = "from mpserve.control.door import own_stderr; print(own_stderr())"
    with (tmp_path / "log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=log, check=True
        )
    assert done.stdout == b"-1\n"
