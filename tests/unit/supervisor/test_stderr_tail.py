import asyncio
import os

from mpserve.supervisor.stderr_tail import KEPT_LINES, StderrTail


def tail_of(*chunks):
    async def scenario():
        tail, write_fd = StderrTail.open()
        for chunk in chunks:
            os.write(write_fd, chunk)
        os.close(write_fd)
        return tail.close()

    return asyncio.run(scenario())


def test_what_a_child_says_is_passed_on_unchanged(capfd):
    tail_of(b"one\n", b"two", b" three\n\xff\n")
    assert capfd.readouterr().err.encode(errors="surrogateescape").startswith(b"one\ntwo three\n")


def test_the_last_lines_are_kept_without_empty_ones(capfd):
    lines = tail_of(b"a\n\n  \nb\n", b"c\nd\n", b"e\nunended")
    assert lines == ("c", "d", "e", "unended")
    assert len(lines) == KEPT_LINES
    capfd.readouterr()


def test_a_line_without_an_end_does_not_fill_the_memory(capfd):
    (line,) = tail_of(*[b"x" * 1000] * 50)
    assert len(line) <= 400
    capfd.readouterr()


def test_a_child_that_says_nothing_has_no_lines():
    assert tail_of() == ()
