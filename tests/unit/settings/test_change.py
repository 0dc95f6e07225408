"""Which settings a running server may take, by name."""

import msgspec
import pytest

from mpserve.dialect import DialectName
from mpserve.settings import Settings
from mpserve.settings.change import CHANGEABLE, difference
from mpserve.settings.reading import read_serve

GROUPS = ("http", "grpc", "clients", "log")


def read(*flags):
    arguments = ["--model-repository=/m", *flags]
    return read_serve(arguments, environment={}, version="1").settings


def fields():
    """Return all settings by the names that the table has."""
    for name in Settings.__struct_fields__:
        if name in GROUPS:
            group = getattr(Settings(), name)
            yield from (f"{name}.{inner}" for inner in group.__struct_fields__)
        else:
            yield name


def with_other(settings, field):
    """Return settings in which one field has a value of no other."""
    group, _, inner = field.rpartition(".")
    if not group:
        return msgspec.structs.replace(settings, **{field: object()})
    changed = msgspec.structs.replace(getattr(settings, group), **{inner: object()})
    return msgspec.structs.replace(settings, **{group: changed})


def test_the_table_names_settings_that_there_are():
    assert set(fields()) >= CHANGEABLE


@pytest.mark.parametrize(
    "field", sorted(set(fields()) - {"http.restrictions", "grpc.restrictions"})
)
def test_each_setting_has_a_name_and_changes_or_does_not(field):
    found = difference(Settings(), with_other(Settings(), field))
    (name,) = found.changed if field in CHANGEABLE else found.refused
    assert len(found.changed + found.refused) == 1
    assert name.startswith("--") or "." not in name, "of a group there are flags"


@pytest.mark.parametrize(
    ("flags", "changed", "refused"),
    [
        ([], (), ()),
        (["--exit-timeout-secs=3"], ("--exit-timeout-secs",), ()),
        (["--log-verbose=1"], ("--log-verbose",), ()),
        (["--http-port=9000", "--grpc-port=9001"], (), ("--grpc-port", "--http-port")),
        (["--client-max-connections=7"], ("--client-max-connections",), ()),
        (
            ["--http-restricted-api=logging:key=new", "--strict-readiness=false"],
            ("--strict-readiness",),
            ("--http-restricted-api",),
        ),
        (["--dialect=mlserver", "--exit-timeout-secs=3"], ("--exit-timeout-secs",), ("--dialect",)),
        (["--trace-config=rate=5"], ("--trace-config",), ()),
    ],
)
def test_what_differs_is_told_by_the_flags_names(flags, changed, refused):
    found = difference(read(), read(*flags))
    assert (found.changed, found.refused) == (changed, refused)


@pytest.mark.parametrize("wire", ["http-restricted-api", "grpc-restricted-protocol"])
def test_keys_and_values_of_what_is_restricted_may_change(wire):
    def restricted(text):
        return read(f"--{wire}={text}")

    before = restricted("logging,trace:key=old")
    assert difference(before, restricted("logging,trace:other=new")).changed == (f"--{wire}",)
    for other in ("logging:key=old", "logging,trace,health:key=old"):
        assert difference(before, restricted(other)).refused == (f"--{wire}",)
    assert difference(before, read()).refused == (f"--{wire}",)


def test_the_dialects_differ_in_what_may_not_change():
    mlserver = msgspec.structs.replace(Settings(), dialect=DialectName.MLSERVER)
    assert difference(Settings(), mlserver).refused == ("--dialect",)
