"""HTTP/1.1 over raw sockets, case by case with its RFC: what is not clear is refused, and closes.

Behind each request that must be refused another one follows on the same connection. It must never
be answered: whoever reads the first one differently (a proxy) would be out of step with us.
"""

import errno
import socket
from typing import NamedTuple

import pytest

from tests.fixtures.server import ANSWER_SECONDS

LIVE = b"GET /v2/health/live HTTP/1.1\r\n"
POST = b"POST /v2/repository/index HTTP/1.1\r\nHost: a\r\n"
HOST = b"Host: a\r\n"
NEXT = b"GET /v2/health/live HTTP/1.1\r\nHost: next\r\n\r\n"
REFUSED = "refused"
SECONDS = ANSWER_SECONDS


class Case(NamedTuple):
    """`statuses` of all answers, or `REFUSED`: one of 4xx or 5xx, then the end."""

    name: str
    section: str
    raw: bytes
    statuses: list[int] | str = REFUSED


def octets(name: str, section: str, codes, make, statuses=REFUSED) -> list[Case]:
    """One case for each octet."""
    return [Case(f"{name} {code:#04x}", section, make(bytes([code])), statuses) for code in codes]


CONTROLS = [*range(1, 9), 11, 12, *range(14, 32), 127]
NO_TOKEN = b'"(),/;<=>?@[\\]{}'
TOKEN = b"!#$%&'*+-.^_`|~09azAZ"

CASES: list[Case] = [
    # --- request line: RFC 9112 section 3 -------------------------------------------------------
    Case("ordinary", "9112 3", LIVE + HOST + b"\r\n", [200]),
    Case("two in one packet", "9112 9.3.2", (LIVE + HOST + b"\r\n") * 2, [200, 200]),
    Case("empty line before", "9112 2.2", b"\r\n" + LIVE + HOST + b"\r\n", [200]),
    Case("bare LF in the request line", "9112 2.2", b"GET / HTTP/1.1\n" + HOST + b"\r\n"),
    Case("bare LF everywhere", "9112 2.2", b"GET / HTTP/1.1\nHost: a\n\n"),
    Case("bare CR in the request line", "9112 2.2", b"GET /\rx HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("two spaces after the method", "9112 3", b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("two spaces before the version", "9112 3", b"GET /  HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("tab for a space", "9112 3", b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("space at the end", "9112 3", b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n"),
    Case("space at the begin", "9112 3", b" GET / HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("no target", "9112 3.2", b"GET HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("no version", "9112 3", b"GET /\r\n" + HOST + b"\r\n"),
    Case("only a method", "9112 3", b"GET\r\n" + HOST + b"\r\n"),
    Case("no slash", "9112 3.2.1", b"GET v2 HTTP/1.1\r\n" + HOST + b"\r\n"),
    Case("version in lower case", "9112 2.3", b"GET / http/1.1\r\n" + HOST + b"\r\n"),
    *(
        Case(f"version {version}", "9112 2.3", f"GET / {version}\r\nHost: a\r\n\r\n".encode())
        for version in (
            "HTTP/0.9",
            "HTTP/2.0",
            "HTTP/3.0",
            "HTTP/1",
            "HTTP/1.",
            "HTTP/1.11",
            "HTTP/01.1",
            "HTTP/1.1x",
            "HTTP /1.1",
            "HTTP/ 1.1",
            "HTTP/1,1",
            "HTTPS/1.1",
            "XTTP/1.1",
            "HTTP/-1.1",
            "HTTP/+1.1",
            "HTTP/9.9",
        )
    ),
    *octets(
        "control in the target",
        "3986 2",
        [*CONTROLS, 0],
        lambda octet: b"GET /v2" + octet + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    ),
    *octets(
        "no token in the method",
        "9110 9.1",
        [*NO_TOKEN, 0, 127, 128, 255],
        lambda octet: b"G" + octet + b"T / HTTP/1.1\r\n" + HOST + b"\r\n",
    ),
    Case(
        "a very long target",
        "9112 3",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    ),
    Case("a very long method", "9112 3", b"A" * 100_000 + b" / HTTP/1.1\r\n" + HOST + b"\r\n"),
    # --- Host: RFC 9112 section 3.2 -------------------------------------------------------------
    Case("no Host", "9112 3.2", LIVE + b"\r\n"),
    Case("two Hosts", "9112 3.2", LIVE + HOST + b"Host: b\r\n\r\n"),
    Case("two equal Hosts", "9112 3.2", LIVE + HOST + HOST + b"\r\n"),
    # --- field lines: RFC 9112 section 5 --------------------------------------------------------
    Case("space before the colon", "9112 5.1", LIVE + HOST + b"A : b\r\n\r\n"),
    Case("tab before the colon", "9112 5.1", LIVE + HOST + b"A\t: b\r\n\r\n"),
    Case("space before the first name", "9112 2.2", LIVE + b" Host: a\r\n\r\n"),
    Case("folded line", "9112 5.2", LIVE + HOST + b"A: b\r\n c\r\n\r\n"),
    Case("folded with a tab", "9112 5.2", LIVE + HOST + b"A: b\r\n\tc\r\n\r\n"),
    Case("folded framing", "9112 5.2", POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    Case("no colon", "9112 5", LIVE + HOST + b"Abc\r\n\r\n"),
    Case("no name", "9112 5", LIVE + HOST + b": b\r\n\r\n"),
    Case("bare LF after a field", "9112 2.2", LIVE + HOST + b"A: b\nC: d\r\n\r\n"),
    Case("bare LF at the end", "9112 2.2", LIVE + HOST + b"A: b\r\n\n"),
    Case("bare CR in a value", "9110 5.5", LIVE + HOST + b"A: b\rc\r\n\r\n"),
    Case("bare CR as a line", "9110 5.5", LIVE + HOST + b"A: b\rContent-Length: 5\r\n\r\n"),
    Case("empty value", "9110 5.5", LIVE + HOST + b"A:\r\n\r\n", [200]),
    Case(
        "value without a space", "9112 5", b"GET /v2/health/live HTTP/1.1\r\nHost:a\r\n\r\n", [200]
    ),
    Case("spaces around a value", "9112 5", LIVE + b"Host: \t a \t \r\n\r\n", [200]),
    Case("name in odd case", "9110 5.1", LIVE + b"hOsT: a\r\n\r\n", [200]),
    Case("octets above ASCII in a value", "9110 5.5", LIVE + HOST + b"A: \xe9\xff\r\n\r\n", [200]),
    *octets(
        "control in a name",
        "9110 5.6.2",
        [*CONTROLS, 0],
        lambda octet: LIVE + HOST + b"A" + octet + b"B: c\r\n\r\n",
    ),
    *octets(
        "no token in a name",
        "9110 5.6.2",
        [*NO_TOKEN, 32, 128, 255],
        lambda octet: LIVE + HOST + b"A" + octet + b"B: c\r\n\r\n",
    ),
    *octets(
        "token in a name",
        "9110 5.6.2",
        TOKEN,
        lambda octet: LIVE + HOST + b"A" + octet + b"B: c\r\n\r\n",
        [200],
    ),
    *octets(
        "control in a value",
        "9110 5.5",
        [*CONTROLS, 0],
        lambda octet: LIVE + HOST + b"A: b" + octet + b"c\r\n\r\n",
    ),
    Case("too many fields", "9110 5.4", LIVE + HOST + b"A: b\r\n" * 10_000 + b"\r\n"),
    Case("a very long name", "9110 5.4", LIVE + HOST + b"A" * 100_000 + b": b\r\n\r\n"),
    Case("a very long value", "9110 5.4", LIVE + HOST + b"A: " + b"b" * 1_000_000 + b"\r\n\r\n"),
    # --- length of the body: RFC 9112 section 6 -------------------------------------------------
    Case("empty body", "9112 6.2", POST + b"Content-Length: 0\r\n\r\n", [200]),
    Case("a body", "9112 6.2", POST + b"Content-Length: 2\r\n\r\n{}", [200]),
    Case(
        "a body and a next request",
        "9112 6.3",
        POST + b"Content-Length: 2\r\n\r\n{}" + NEXT,
        [200, 200],
    ),
    Case("zeros before", "9110 8.6", POST + b"Content-Length: 0002\r\n\r\n{}", [200]),
    Case(
        "chunks",
        "9112 7.1",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        [200],
    ),
    Case(
        "chunks and a next request",
        "9112 7.1",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + NEXT,
        [200, 200],
    ),
    Case(
        "chunked in odd case",
        "9112 7",
        POST + b"Transfer-Encoding: Chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        [200],
    ),
    Case(
        "both framings",
        "9112 6.3",
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    Case(
        "both framings, turned",
        "9112 6.3",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    ),
    Case(
        "both, the length 0",
        "9112 6.3",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
    ),
    Case(
        "two different lengths",
        "9112 6.3",
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    ),
    Case(
        "two equal lengths",
        "9110 8.6",
        POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        [200],
    ),
    *(
        Case(f"length {value!r}", "9110 8.6", POST + b"Content-Length: " + value + b"\r\n\r\n{}")
        for value in (
            b"",
            b"+2",
            b"-2",
            b"2,2",
            b"2, 3",
            b"0x2",
            b"2 2",
            b"2.0",
            b"2e0",
            b"two",
            b"\xb2",
            b"2;",
            b"18446744073709551616",
            b"18446744073709551618",
            b"9" * 40,
            b"2_0",
            b"2\t2",
            b'"2"',
            b"1\x002",
        )
    ),
    *(
        Case(
            f"coding {value!r}",
            "9112 6.1",
            POST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n",
        )
        for value in (
            b"",
            b"identity",
            b"gzip",
            b"gzip, chunked",
            b"chunked, gzip",
            b"chunked, chunked",
            b"chunked,",
            b", chunked",
            b"xchunked",
            b"chunkedx",
            b"chunked;a=b",
            b"\x0bchunked",
            b"chun ked",
            b'"chunked"',
            b"'chunked'",
            b"chunked\x00",
            b"identity, chunked",
            b"cow",
            b"chunked;",
            b"chunk",
        )
    ),
    Case(
        "coding twice",
        "9112 6.1",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    Case(
        "coding twice, one unknown",
        "9112 6.1",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n",
    ),
    Case(
        "coding in HTTP/1.0",
        "9112 6.1",
        b"POST /v2/repository/index HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    Case(
        "coding behind a bad name",
        "9112 5.1",
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    Case(
        "coding with an underscore is another field",
        "9110 5.1",
        POST + b"Transfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
        [200],
    ),
    # --- chunks: RFC 9112 section 7.1 -----------------------------------------------------------
    *(
        Case(
            f"chunk size {size!r}",
            "9112 7.1",
            POST + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n{}\r\n0\r\n\r\n",
        )
        for size in (
            b"",
            b"-2",
            b"+2",
            b"0x2",
            b"g",
            b" 2",
            b"2 ",
            b"2\t",
            b"2 2",
            b"\xb2",
            b"2.0",
            b"2,",
            b"10000000000000000",
            b"ffffffffffffffff",
            b"1" * 40,
            b"2\x00",
            b"2\x0b",
            b"'2'",
            b"2;\x00",
            b"2;a=\nb",
            b"2;a=\rb",
        )
    ),
    *(
        Case(
            f"chunk framing {chunks!r}",
            "9112 7.1",
            POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks,
        )
        for chunks in (
            b"2\n{}\r\n0\r\n\r\n",
            b"2\r\n{}\n0\r\n\r\n",
            b"2\r\n{}0\r\n\r\n",
            b"2\r\n{}x\r\n0\r\n\r\n",
            b"2\r{}\r\n0\r\n\r\n",
            b"2\r\n{}\r0\r\n\r\n",
            b"1\r\n{}\r\n0\r\n\r\n",
            b"2\r\n{}\r\n0\n\r\n",
            b"2\r\n{}\r\n0\r\n\n",
            b"2\r\n{}\r\n0\r\nX\r\n\r\n",
            b"2\r\n{}\r\n0\r\n A: b\r\n\r\n",
            b"2\r\n{}\r\n0\r\nA : b\r\n\r\n",
            b"\r\n2\r\n{}\r\n0\r\n\r\n",
        )
    ),
    Case(
        "extension of a chunk",
        "9112 7.1.1",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n",
    ),
    # --- expectations, upgrades, bodies nobody asked for -----------------------------------------
    Case("unknown expectation", "9110 10.1.1", LIVE + HOST + b"Expect: cow\r\n\r\n"),
    Case(
        "body of a GET is not a request",
        "9110 9.3.1",
        LIVE + HOST + b"Content-Length: %d\r\n\r\n" % len(NEXT) + NEXT,
        [200],
    ),
    Case(
        "unknown upgrade is passed over",
        "9110 7.8",
        LIVE + HOST + b"Connection: upgrade\r\nUpgrade: cow\r\n\r\n",
        [200],
    ),
    Case(
        "TLS on a plain port",
        "9112 3",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    ),
    Case("only zeros", "9112 3", b"\x00" * 64 + b"\r\n\r\n"),
]


def statuses_of(port: int, raw: bytes, *, expected: int | None) -> list[int]:
    """Send; return the statuses of all answers until the server closes, or has given so many."""
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
        try:
            client.sendall(raw)
            while len(list(parsed(bytes(received)))) != expected:
                chunk = client.recv(1 << 16)
                if not chunk:
                    break
                received += chunk
            client.shutdown(socket.SHUT_WR)
            while chunk := client.recv(1 << 16):
                received += chunk
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was refused before everything was sent
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # it has closed already
                raise
    return list(parsed(bytes(received)))


def parsed(received: bytes):
    while received:
        head, end, rest = received.partition(b"\r\n\r\n")
        if not end:
            return  # the rest is on its way
        lines = head.split(b"\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in lines[1:])
        yield int(lines[0].split()[1])
        received = rest[int(fields.get(b"content-length", b"0")) :]


def test_the_corpus_is_as_large_as_promised():
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_request_is_taken_as_the_rfc_has_it_or_refused(triton, case):
    if case.statuses != REFUSED:
        expected = len(case.statuses)
        seen = statuses_of(triton.port, case.raw, expected=expected)
        assert seen == case.statuses, case.section
        return
    statuses = statuses_of(triton.port, case.raw + NEXT, expected=None)
    assert len(statuses) <= 1, (case.section, "the request behind it was answered")
    assert all(400 <= status < 600 for status in statuses), case.section
    assert statuses or len(case.raw) > 50_000, (case.section, "it was not answered")
