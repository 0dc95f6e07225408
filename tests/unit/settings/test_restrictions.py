"""Restricted calls said in an environment variable, where commas have three meanings."""

import pytest

from mpserve.errors import ConfigError
from mpserve.settings.reading import read_serve


def restrictions(wire: str, text: str) -> list[tuple[str, str, str]]:
    name = {"http": "MPSERVE_HTTP_RESTRICTED_API", "grpc": "MPSERVE_GRPC_RESTRICTED_PROTOCOL"}[wire]
    settings = read_serve(["--model-repository=/m"], environment={name: text}, version="1").settings
    found = getattr(settings, wire).restrictions
    return [(one.category.value, one.key, one.value) for one in found]


@pytest.mark.parametrize("wire", ["http", "grpc"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("health:k=v", [("health", "k", "v")]),
        ("health,metadata:k=v", [("health", "k", "v"), ("metadata", "k", "v")]),
        (
            "health,metadata:k=v,inference:x=y",
            [("health", "k", "v"), ("metadata", "k", "v"), ("inference", "x", "y")],
        ),
        ("health:k=a,b", [("health", "k", "a,b")]),
    ],
)
def test_an_environment_variable_holds_one_or_several_groups(wire, text, expected):
    assert sorted(restrictions(wire, text)) == sorted(expected)


@pytest.mark.parametrize("text", ["health", "health,metadata", "k=v"])
def test_a_text_without_a_secret_is_refused(text):
    with pytest.raises(ConfigError, match="MPSERVE_HTTP_RESTRICTED_API"):
        restrictions("http", text)
