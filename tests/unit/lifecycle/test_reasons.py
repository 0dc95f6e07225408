import pytest

from mpserve.errors import ErrorCode, Failure
from mpserve.lifecycle.reasons import CODE_WORDS, death_failure, load_failure, shown_reason
from mpserve.model.identity import InstanceKey

KEY = InstanceKey(name="m", version="3", generation=7, index=1)


def test_every_code_but_success_has_a_word():
    assert set(CODE_WORDS) == set(ErrorCode) - {ErrorCode.OK}


@pytest.mark.parametrize(
    ("exit_code", "signal_number", "words"),
    [
        (None, 9, "worker 1 of model 'm' version 3 was ended by signal 9 (SIGKILL)"),
        (None, 63, "worker 1 of model 'm' version 3 was ended by signal 63"),
        (3, None, "worker 1 of model 'm' version 3 ended with exit code 3"),
        (None, None, "worker 1 of model 'm' version 3 ended in a way that nobody saw"),
    ],
)
def test_a_death_is_told_by_its_manner(exit_code, signal_number, words):
    failure = death_failure(KEY, exit_code=exit_code, signal_number=signal_number, last_lines=())
    assert failure == Failure(code=ErrorCode.UNAVAILABLE, message=words)


def test_a_death_is_told_with_the_last_words():
    failure = death_failure(
        KEY, exit_code=1, signal_number=None, last_lines=("Traceback", "MemoryError")
    )
    assert failure.message.endswith("; last lines of its stderr: Traceback | MemoryError")


def test_a_model_without_versions_has_none_in_its_answer():
    failure = Failure(code=ErrorCode.LOAD_FAILED, message="ValueError: no")
    assert load_failure("m", [("", failure)]).message == (
        "load failed for model 'm': it is at UNAVAILABLE state: Internal: ValueError: no;\n"
    )


def test_a_reason_starts_with_the_word_of_its_code():
    failure = Failure(code=ErrorCode.ALREADY_EXISTS, message="twice")
    assert shown_reason(failure) == "Already exists: twice"
