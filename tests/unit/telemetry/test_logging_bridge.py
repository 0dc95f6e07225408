"""Records of Python's `logging` become events of our log."""

import logging

import pytest

from mpserve.telemetry.logging_bridge import LoggingBridge


@pytest.fixture
def logger():
    logger = logging.getLogger("model.code")
    bridge = LoggingBridge()
    logger.addHandler(bridge)
    logger.propagate = False
    yield logger
    logger.removeHandler(bridge)


def test_a_record_is_written_with_its_logger_and_message(logger, capfd):
    logger.warning("slow by %d ms", 7)
    line = capfd.readouterr().err
    assert " W " in line
    assert 'library.logged logger=model.code message="slow by 7 ms"' in line


def test_an_exception_is_written_with_its_traceback(logger, capfd):
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("failed")
    text = capfd.readouterr().err
    assert " E " in text
    assert "ValueError: broken" in text
