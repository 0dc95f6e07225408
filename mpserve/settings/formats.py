"""Forms of flags that take more than a word: `<name>,<setting>=<value>` and its kin.

Each function takes all values that one flag was given and raises `BadValue` with Triton's words.
The features behind most of them are not there yet; a value of the wrong form still deserves the
reason of its form, because that is what the reader can mend.
"""

import itertools
from typing import Final

from mpserve.settings.http_settings import Category
from mpserve.settings.values import BadValue, parse_integer

RESTRICTABLE: Final = tuple(category.value for category in Category)
_PAIR_COMPLAINT: Final = (
    "Cannot parse pair option due to incorrect number of inputs.--<pair option> argument requires "
    "format <first>:<second>. Found: {text}"
)


def check_local(texts: tuple[str, ...]) -> None:
    """Check that folders are of this machine: no `s3://`, `gs://`, `as://` or other address.

    An empty text would be the folder where the server happens to be started.
    """
    if "" in texts:
        raise BadValue("the value is empty")
    for text in texts:
        scheme, mark, _ = text.partition("://")
        if mark and scheme.isalnum():
            raise BadValue(
                f"'{text}' is remote storage, which mpserve does not read; copy it or mount it, "
                "and give the folder"
            )


def split_restrictions(text: str) -> tuple[str, ...]:
    """Return the values of a `restricted` flag that its environment variable holds.

    Commas stand between values, between the groups of one value, and may stand in a secret: a piece
    with a colon ends the list of groups before it, and one without, at the end, goes on with it.
    """
    values: list[str] = []
    groups: list[str] = []
    for piece in text.split(","):
        groups.append(piece)
        if ":" in piece:
            values.append(",".join(groups))
            groups = []
    if groups and values:
        values[-1] = ",".join([values[-1], *groups])
    return tuple(values) if values else (text,)


def check_restricted_http(texts: tuple[str, ...]) -> None:
    """Check `<api>,<api>:<key>=<value>`."""
    _check_restricted(texts, flag="http-restricted-api", noun="api")


def check_restricted_grpc(texts: tuple[str, ...]) -> None:
    """Check `<protocol>,<protocol>:<key>=<value>`."""
    _check_restricted(texts, flag="grpc-restricted-protocol", noun="protocol")


def _check_restricted(texts: tuple[str, ...], *, flag: str, noun: str) -> None:
    seen: set[str] = set()
    for text in texts:
        names, colon, setting = text.partition(":")
        if not colon or not setting.partition("=")[0] or "=" not in setting:
            raise BadValue(
                f"--{flag} option format is '<config name>:<setting>=<value>'. Got {text}"
            )
        for name in names.split(","):
            if name not in RESTRICTABLE:
                raise BadValue(f"unknown restricted {noun} '{name}' ")
            if name in seen:
                raise BadValue(
                    f"restricted {noun} '{name}' can not be specified in multiple config groups"
                )
            seen.add(name)


def check_backend_config(texts: tuple[str, ...]) -> None:
    """Check `<backend>,<setting>=<value>` or `<setting>=<value>`."""
    for text in texts:
        if text.startswith(","):
            raise BadValue(
                "No backend specified. --backend-config option format is <backend name>,<setting>="
                f"<value> or <setting>=<value>. Got {text}"
            )
        _, comma, rest = text.partition(",")
        _check_assignment(
            rest if comma else text,
            complaint=(
                f"--backend-config option format is '<backend name>,<setting>=<value>'. Got {text}"
            ),
        )


def check_cache_config(texts: tuple[str, ...]) -> None:
    """Check `<cache>,<setting>=<value>`, and that there is one cache only."""
    for text in texts:
        name, comma, rest = text.partition(",")
        complaint = f"--cache-config option format is '<cache name>,<setting>=<value>'. Got {text}"
        if not (name and comma):
            raise BadValue(complaint)
        _check_assignment(rest, complaint=complaint)
    if len({text.partition(",")[0] for text in texts}) > 1:
        raise BadValue(
            "found multiple cache configurations, but only a single cache is currently supported"
        )


def check_host_policy(texts: tuple[str, ...]) -> None:
    """Check `<policy>,<setting>=<value>`."""
    for text in texts:
        name, comma, rest = text.partition(",")
        complaint = f"--host-policy option format is '<policy name>,<setting>=<value>'. Got {text}"
        if not (name and comma):
            raise BadValue(complaint)
        _check_assignment(rest, complaint=complaint)
        setting, _, value = rest.partition("=")
        if setting == "cpu-cores" and not _is_range(value):
            raise BadValue(
                f"--host-policy: 'cpu-cores' of policy '{name}' is '{value}', expected "
                "'<lowest>-<highest>'"
            )


def _is_range(text: str) -> bool:
    lowest, _, highest = text.partition("-")
    return lowest.isdecimal() and highest.isdecimal() and int(lowest) <= int(highest)


def check_path(texts: tuple[str, ...]) -> None:
    """Check the path of a URL."""
    for text in texts:
        if not text.startswith("/") or any(letter in text for letter in "?# "):
            raise BadValue(f"a path like '/metrics' is needed, got '{text}'")


def check_rate_limit_resource(texts: tuple[str, ...]) -> None:
    """Check `<name>:<count>` or `<name>:<count>:<device>`."""
    for text in texts:
        name, *numbers = text.split(":")
        if not name or len(numbers) not in {1, 2}:
            raise BadValue(
                "--rate-limit-resource option format is '<resource_name>:<count>:<device>' or "
                f"'<resource_name>:<count>'. Got {text}"
            )
        for number in numbers:
            parse_integer(number)


def check_pair(texts: tuple[str, ...]) -> None:
    """Check `<first>:<second>`."""
    for text in texts:
        if text.count(":") != 1:
            raise BadValue(_PAIR_COMPLAINT.format(text=text))


def _check_assignment(text: str, *, complaint: str) -> None:
    setting, equals, value = text.partition("=")
    if not (setting and equals and value):
        raise BadValue(complaint)


def sorted_unique(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the texts in lexicographic order, each once, as Triton's sets keep them."""
    return tuple(key for key, _ in itertools.groupby(sorted(texts)))
