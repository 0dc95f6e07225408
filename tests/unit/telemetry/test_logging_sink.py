"""Where events go when the operator has set Python's `logging` up. Each test in its own process."""

import json
import subprocess
import sys

import pytest

from mpserve.model.logging_setup import LoggingSetup

PROGRAM = """
import logging, sys, msgspec
from mpserve.model.log_switches import LogSwitches
from mpserve.model.logging_setup import LoggingSetup
from mpserve.telemetry import log
from mpserve.telemetry.logging_sink import divert_to_logging
log.configure(LogSwitches(log_format="json"), role="test")
divert_to_logging(msgspec.json.decode(sys.argv[1], type=LoggingSetup))
log.info("model.told", model="m", count=3)
log.debug("model.whispered")
logging.getLogger("library").warning("slow by %d", 7)
log.error("model.failed")
"""
FORMAT = "%(levelname)s|%(name)s|%(message)s"


def said(settings: LoggingSetup) -> subprocess.CompletedProcess[str]:
    import msgspec  # noqa: PLC0415  # of the interpreter that runs the program

    text = msgspec.json.encode(settings).decode()
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, text], capture_output=True, text=True, check=False
    )


def config(**loggers: object) -> LoggingSetup:
    return LoggingSetup(
        config_json=json.dumps(
            {
                "version": 1,
                "formatters": {"short": {"format": FORMAT}},
                "handlers": {
                    "out": {
                        "class": "logging.StreamHandler",
                        "stream": "ext://sys.stdout",
                        "formatter": "short",
                    }
                },
                **loggers,
            }
        )
    )


def test_events_are_records_of_mlservers_logger():
    found = said(config(loggers={"mlserver": {"handlers": ["out"], "level": "DEBUG"}}))
    assert found.stdout.splitlines() == [
        "INFO|mlserver|model.told model=m count=3",
        "DEBUG|mlserver|model.whispered",
        "ERROR|mlserver|model.failed",
    ]
    (line,) = map(json.loads, found.stderr.splitlines())
    assert (line["event"], line["logger"], line["message"]) == (
        "library.logged",
        "library",
        "slow by 7",
    )


def test_a_handler_of_the_root_logger_takes_everything():
    found = said(config(root={"handlers": ["out"], "level": "WARNING"}))
    assert found.stdout.splitlines() == [
        "INFO|mlserver|model.told model=m count=3",
        "WARNING|library|slow by 7",
        "ERROR|mlserver|model.failed",
    ]
    assert found.stderr == ""


def test_what_no_handler_takes_is_written_as_ever():
    found = said(config(loggers={"other": {"handlers": ["out"]}}))
    assert found.stdout == ""
    events = [json.loads(line)["event"] for line in found.stderr.splitlines()]
    assert events[0] == "model.told"
    assert events[-1] == "model.failed"


def test_a_file_as_of_file_config(tmp_path):
    path = tmp_path / "logging.conf"
    path.write_text(
        "[loggers]\nkeys=root,mlserver\n[handlers]\nkeys=out\n[formatters]\nkeys=short\n"
        "[logger_root]\nhandlers=\n"
        "[logger_mlserver]\nlevel=ERROR\nhandlers=out\nqualname=mlserver\npropagate=0\n"
        "[handler_out]\nclass=StreamHandler\nformatter=short\nargs=(sys.stdout,)\n"
        f"[formatter_short]\nformat={FORMAT}\n"
    )
    found = said(LoggingSetup(ini_path=str(path)))
    assert found.stdout.splitlines() == ["ERROR|mlserver|model.failed"]


def test_modules_are_found_beside_the_settings(tmp_path):
    (tmp_path / "shouting.py").write_text(
        "import logging\n"
        "class Loud(logging.Formatter):\n"
        "    def format(self, record):\n"
        "        return record.event.upper() + str(record.fields)\n"
    )
    settings = LoggingSetup(
        folders=(str(tmp_path),),
        config_json=json.dumps(
            {
                "version": 1,
                "formatters": {"loud": {"()": "shouting.Loud"}},
                "handlers": {
                    "out": {
                        "class": "logging.StreamHandler",
                        "stream": "ext://sys.stdout",
                        "formatter": "loud",
                    }
                },
                "loggers": {"mlserver": {"handlers": ["out"]}},
            }
        ),
    )
    assert said(settings).stdout.splitlines()[0] == "MODEL.TOLD{'model': 'm', 'count': 3}"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (LoggingSetup(config_json="{}"), "dictionary doesn't specify a version"),
        (config(handlers={"x": {"class": "nope.Handler"}}), "'x': Cannot resolve 'nope.Handler'"),
        (LoggingSetup(ini_path="/nowhere/logging.conf"), "/nowhere/logging.conf"),
    ],
)
def test_what_logging_does_not_take_is_told_with_the_reason(settings, reason):
    found = said(settings)
    assert found.returncode != 0
    assert "ConfigError: logging_settings: " in found.stderr
    assert reason in found.stderr
