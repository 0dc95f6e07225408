"""MLServer's settings: one row per field of its `Settings`, and what becomes of it.

They come from `settings.json` and `MLSERVER_<FIELD>`. A field that mpserve has as a flag is read
into that flag; the rest changes nothing or is refused, as with flags.

Source: fields, types and defaults as MLServer 1.7.1 declares them.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from mpserve.settings.flags import Standing, Value
from mpserve.settings.values import BadValue

_METRIC_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
ENV_PREFIX: Final = "MLSERVER_"
Raw = str | int | float | bool | list[object] | dict[str, object] | None
"""A member of `settings.json`, or the text of an environment variable."""

_WORDS: Final = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}


def read_bool(raw: Raw) -> bool:
    """Return a truth value, by the words that pydantic takes."""
    value = raw if isinstance(raw, bool) else _WORDS.get(str(raw).lower())
    if value is None:
        raise BadValue(f"'{raw}' is no truth value, use true or false")
    return value


def read_integer(raw: Raw) -> int:
    """Return a whole number."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    try:
        return int(raw if isinstance(raw, str) else "")
    except ValueError as error:
        raise BadValue(f"'{raw}' is no whole number") from error


def read_count(raw: Raw) -> int:
    """Return a whole number that is not negative."""
    value = read_integer(raw)
    if value < 0:
        raise BadValue(f"'{raw}' is negative, use 0 or more")
    return value


def read_text(raw: Raw) -> str:
    """Return a text."""
    if not isinstance(raw, str):
        raise BadValue(f"'{raw}' is no text")
    return raw


def read_words(raw: Raw) -> tuple[str, ...]:
    """Return a list of texts; an environment variable holds it as JSON."""
    try:
        return (
            msgspec.json.decode(raw, type=tuple[str, ...])
            if isinstance(raw, str)
            else msgspec.convert(raw, tuple[str, ...])
        )
    except msgspec.MsgspecError as error:
        raise BadValue(f"'{raw}' is no JSON list of texts") from error


def read_metric_name(raw: Raw) -> str:
    """Return the beginning of a metric's name."""
    text = read_text(raw)
    if _METRIC_NAME.fullmatch(text) is None:
        raise BadValue(f"'{text}' can not begin a metric's name: {_METRIC_NAME.pattern}")
    return text


def _as_verbosity(raw: Raw) -> int:
    return int(read_bool(raw))


def _as_log_format(raw: Raw) -> str:
    return "json" if read_bool(raw) else "default"


class MLServerField(msgspec.Struct, frozen=True, kw_only=True):
    """One field.

    Attributes
    ----------
    name
        As in `settings.json`; the variable is `MLSERVER_` and the name in capitals.
    flag
        Flag that takes its value; "" when it has none.
    reason
        Why it does not act; of one that acts without a flag, what it does.
    read
        Returns the value for the flag, or raises `BadValue`.
    off
        Raw values that a refused field takes; texts are compared in lower case.
    """

    name: str
    flag: str = ""
    read: Callable[[Raw], Value] | None = None
    standing: Standing = Standing.ACTS
    reason: str = ""
    off: tuple[str, ...] = ("", "none", "null", "[]", "{}", "false", "0")

    @property
    def environment_name(self) -> str:
        """Name of the environment variable."""
        return ENV_PREFIX + self.name.upper()

    def check(self, raw: Raw) -> None:
        """Raise `BadValue` when the field is refused with this value."""
        if self.standing is Standing.REFUSED and str(raw).lower() not in self.off:
            raise BadValue(self.reason)


def _no_effect(name: str, reason: str) -> MLServerField:
    return MLServerField(name=name, standing=Standing.NO_EFFECT, reason=reason)


def _refused(name: str, reason: str) -> MLServerField:
    return MLServerField(name=name, standing=Standing.REFUSED, reason=reason)


_NO_KAFKA: Final = "only set up for Kafka, which mpserve does not read"

MLSERVER_FIELDS: Final = (
    MLServerField(name="host", flag="http-address", read=read_text),
    MLServerField(name="http_port", flag="http-port", read=read_integer),
    MLServerField(name="grpc_port", flag="grpc-port", read=read_integer),
    MLServerField(name="grpc_max_message_length", flag="grpc-max-message-bytes", read=read_integer),
    MLServerField(name="metrics_port", flag="metrics-port", read=read_integer),
    MLServerField(name="metrics_endpoint", flag="metrics-endpoint", read=read_text),
    MLServerField(name="server_name", flag="id", read=read_text),
    MLServerField(name="debug", flag="log-verbose", read=_as_verbosity),
    MLServerField(name="use_structured_logging", flag="log-format", read=_as_log_format),
    MLServerField(name="environments_dir", flag="environments-dir", read=read_text),
    # The next have no flag: `assembly.py` takes them by name.
    MLServerField(
        name="metrics_rest_server_prefix",
        reason="how the names of the metrics of HTTP begin",
    ),
    MLServerField(name="server_version", reason="of the server's metadata"),
    MLServerField(name="extensions", reason="of the server's metadata"),
    MLServerField(name="load_models_at_startup", reason="if not, clients load what they need"),
    MLServerField(
        name="parallel_workers",
        reason="instances of each model that has no number of its own; 0 is one too, since no "
        "model runs in the server's process",
    ),
    MLServerField(
        name="cors_settings",
        reason="headers of answers to pages of other origins, and answers to their preflights; "
        "`expose_headers` too, which the peer reads and does not send",
    ),
    MLServerField(
        name="root_path",
        reason="stands before the links of `/v2/docs`, of OpenAPI and of redirections; paths are "
        "served with it too, for proxies that do not take it off",
    ),
    MLServerField(
        name="logging_settings",
        reason="a path or an object for Python's `logging`: models and the server log by it",
    ),
    MLServerField(
        name="gzip_enabled",
        reason="if not, answers are never compressed",
    ),
    _no_effect("model_repository_root", "the FOLDER of the command is the repository"),
    _no_effect(
        "parallel_workers_timeout",
        "how long workers may take is said by --model-drain-timeout-secs and --exit-timeout-secs",
    ),
    _no_effect("metrics_dir", "what is counted lies in shared memory"),
    _no_effect("kafka_servers", _NO_KAFKA),
    _no_effect("kafka_topic_input", _NO_KAFKA),
    _no_effect("kafka_topic_output", _NO_KAFKA),
    _no_effect("cache_size", "there is no response cache yet"),
    _refused("model_repository_implementation", "another repository class can not be plugged in"),
    _refused("model_repository_implementation_args", "there is no other repository class"),
    _refused("kafka_enabled", "mpserve does not read from Kafka"),
    _refused(
        "tracing_server", "use --trace-config mode=opentelemetry: spans go out by OTLP over HTTP"
    ),
    _refused("cache_enabled", "there is no response cache yet"),
)
BY_NAME: Final = {field.name: field for field in MLSERVER_FIELDS}
