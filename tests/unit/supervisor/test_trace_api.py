"""The trace file of a start, and of settings that are read again."""

import pytest

from mpserve.errors import ConfigError
from mpserve.model.trace_setting import TraceMode, TraceSetting
from mpserve.supervisor.trace_api import begin_trace_file, check_trace_file
from mpserve.telemetry.trace_file import append
from mpserve.telemetry.trace_record import moment_record


@pytest.mark.parametrize("take", [begin_trace_file, check_trace_file])
def test_a_file_that_holds_something_else_is_refused_and_left_alone(tmp_path, take):
    path = tmp_path / "mine.json"
    path.write_text('{"mine": 1}')
    with pytest.raises(ConfigError, match=f"triton,file={path}: the file holds something else"):
        take(TraceSetting(file=str(path)))
    assert path.read_text() == '{"mine": 1}'


@pytest.mark.parametrize("take", [begin_trace_file, check_trace_file])
def test_a_file_that_is_not_used_is_not_looked_at(tmp_path, take):
    path = tmp_path / "mine.json"
    path.write_text('{"mine": 1}')
    take(TraceSetting(file=str(path), mode=TraceMode.OPENTELEMETRY))
    take(TraceSetting(file=""))
    assert path.read_text() == '{"mine": 1}'


def test_a_start_begins_anew_and_settings_that_are_read_again_go_on(tmp_path):
    path = tmp_path / "t.json"
    setting = TraceSetting(file=str(path))
    append(str(path), [moment_record(1, "A", 1)])
    check_trace_file(setting)
    assert path.read_text() == '[{"id":1,"timestamps":[{"name":"A","ns":1}]}]'
    begin_trace_file(setting)
    assert path.read_text() == ""
    check_trace_file(setting)


def test_a_file_that_can_not_be_written_is_told_at_the_start(tmp_path):
    with pytest.raises(ConfigError, match="No such file or directory; give a file that can be"):
        begin_trace_file(TraceSetting(file=str(tmp_path / "no" / "t.json")))
