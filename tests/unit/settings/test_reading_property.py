"""Whatever is typed, the outcome is settings or a reason in words."""

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from mpserve.errors import ConfigError
from mpserve.settings import Settings
from mpserve.settings.arguments import HelpWanted
from mpserve.settings.reading import SERVE_FLAGS, read_serve

NAMES = st.sampled_from([flag.name for flag in SERVE_FLAGS] + ["help", "http", ""])
TEXTS = st.one_of(
    st.text(max_size=12).filter(lambda text: "\0" not in text),
    st.sampled_from(["true", "0", "1", "poll", "explicit", "*", "a:b=c", "level=OFF", "9" * 30]),
)
WORDS = st.one_of(
    st.builds(lambda name, text: f"--{name}={text}", NAMES, TEXTS),
    st.builds(lambda name: f"--{name}", NAMES),
    TEXTS,
)


@given(words=st.lists(WORDS, max_size=6))
@example(words=["--model-repository"])
@example(words=["--model-repository=/m", "--"])
def test_any_command_line_makes_settings_or_a_reason(words):
    outcome = outcome_of(words)
    if isinstance(outcome, Settings):
        assert all(Path(root).is_absolute() for root in outcome.model_repositories)
    else:
        assert outcome.strip()


def outcome_of(words):
    try:
        return read_serve(words, environment={}, version="1").settings
    except HelpWanted:
        return "help"
    except ConfigError as error:
        return str(error)
