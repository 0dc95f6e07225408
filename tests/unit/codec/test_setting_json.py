"""Bodies of the trace and logging extensions, fault by fault."""

import json

import pytest

from mpserve.codec.setting_json import (
    log_body,
    read_log_change,
    read_trace_change,
    trace_body,
)
from mpserve.errors import ErrorCode, MpserveError
from mpserve.model.log_switches import LogChange, LogSwitches, switched
from mpserve.model.trace_setting import (
    ToldTrace,
    TraceChange,
    TraceOverride,
    TraceSetting,
    changed,
    overridden,
)

INVALID, MALFORMED = ErrorCode.INVALID_ARGUMENT, ErrorCode.MALFORMED
UNSUPPORTED, UNAVAILABLE = ErrorCode.UNSUPPORTED, ErrorCode.UNAVAILABLE


def test_the_log_is_told_in_the_peers_order():
    assert log_body(LogSwitches()) == (
        b'{"log_file":"","log_info":true,"log_warning":true,"log_error":true,'
        b'"log_verbose_level":0,"log_format":"default"}'
    )


def test_a_change_names_what_it_changes():
    body = b'{"log_info":false,"log_verbose_level":2,"log_error":null,"unknown":1}'
    assert read_log_change(body) == LogChange(info=False, verbose_level=2)
    assert switched(LogSwitches(), LogChange(info=False)) == LogSwitches(info=False)


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ({"log_file": "x"}, UNSUPPORTED,
         "log file location can not be updated through network protocol"),
        ({"log_format": "x"}, UNAVAILABLE, "invalid argument for --log_format, got: x"),
        ({"log_info": 1}, MALFORMED, "attempt to access JSON non-boolean as boolean"),
        ({"log_verbose_level": -1}, MALFORMED,
         "attempt to access JSON non-unsigned-integer as unsigned-integer"),
        ({"log_format": 1}, MALFORMED, "attempt to access JSON non-string as string"),
        ([], MALFORMED, "attempt to access JSON non-object as object"),
    ],
)  # fmt: skip
def test_a_bad_change_of_the_log_is_refused(body, code, text):
    with pytest.raises(MpserveError) as caught:
        read_log_change(json.dumps(body).encode())
    assert (caught.value.code, str(caught.value)) == (code, text)


def test_a_trace_setting_is_told_in_strings():
    assert trace_body(ToldTrace(setting=TraceSetting())) == (
        b'{"trace_level":["OFF"],"trace_rate":"1000","trace_count":"-1","log_frequency":"0",'
        b'"trace_file":"","trace_mode":"triton"}'
    )


def test_null_takes_a_trace_setting_back():
    override = changed(TraceOverride(), TraceChange(rate=5, count=7))
    assert overridden(TraceSetting(), override) == TraceSetting(rate=5, count=7)
    override = changed(override, read_trace_change(b'{"trace_rate":null}'))
    assert overridden(TraceSetting(), override) == TraceSetting(count=7)


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ({"trace_file": ""}, UNSUPPORTED,
         "trace file location can not be updated through network protocol"),
        ({"trace_rate": "x"}, INVALID, "Unable to parse 'trace_rate', got: x"),
        ({"trace_count": ""}, INVALID, "Unable to parse 'trace_count', got: "),
        ({"trace_count": "-2"}, INVALID,
         "Unable to parse 'trace_count'. Expecting value >= -1, got:-2"),
        ({"trace_rate": "4294967296"}, INVALID,
         "Unable to parse 'trace_rate', value is out of range [ 0, 4294967295 ], got: 4294967296"),
        ({"trace_level": ["OFF", "TENSORS"]}, INVALID,
         "Expect only one trace level 'OFF' is specified"),
        ({"trace_level": ["x"]}, INVALID,
         "Unable to parse 'trace_level', got: x; use OFF, TIMESTAMPS, TENSORS"),
        ({"trace_level": "OFF"}, MALFORMED, "attempt to access JSON non-array as array"),
        ({"log_frequency": 1}, MALFORMED, "attempt to access JSON non-string as string"),
    ],
)  # fmt: skip
def test_a_bad_change_of_a_trace_setting_is_refused(body, code, text):
    with pytest.raises(MpserveError) as caught:
        read_trace_change(json.dumps(body).encode())
    assert (caught.value.code, str(caught.value)) == (code, text)


def test_levels_are_told_in_their_order():
    change = read_trace_change(b'{"trace_level":["TENSORS","TIMESTAMPS"]}')
    assert change.levels == ("TIMESTAMPS", "TENSORS")
    assert read_trace_change(b'{"trace_level":["OFF"]}').levels == ()
