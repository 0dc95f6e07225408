"""Checks over several settings, in Triton's words where it has them, and warnings."""

import itertools
from typing import Final

from mpserve.errors import ConfigError
from mpserve.settings.arguments import UsageError
from mpserve.settings.assembly import ALL_MODELS
from mpserve.settings.environment import Chosen
from mpserve.settings.settings import ModelControlMode, Settings
from mpserve.settings.trace_config import deprecations
from mpserve.settings.unix_address import unix_path

ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  # compared, not bound


class CreationError(ConfigError):
    """The flags are understood, but no server can be made of them."""

    @property
    def line(self) -> str:
        """The line that ends the process, as Triton prints it."""
        return f"error: creating server: Invalid argument - {self}"


def check_usage(settings: Settings, chosen: Chosen) -> None:
    """Raise `UsageError` for flags that contradict each other.

    Parameters
    ----------
    settings
        The assembled settings.
    chosen
        What was said in so many words, by flag name.
    """
    if "load-model" in chosen and settings.model_control_mode is not ModelControlMode.EXPLICIT:
        raise UsageError(
            "Error: Use of '--load-model' requires setting '--model-control-mode=explicit' as well."
        )
    if chosen.get("worker-user") == ("",):  # a shell variable that is not set
        raise UsageError("Error: empty argument for --worker-user")
    if chosen.get("model-config-name") == ("",):
        raise UsageError("Error: empty argument for --model-config-name")
    if "cache-config" in chosen and "response-cache-byte-size" in chosen:
        raise UsageError(
            "Error: Incompatible flags --response-cache-byte-size and --cache-config both "
            "provided. Please provide one or the other."
        )
    if not (settings.allow_http or settings.allow_grpc):
        raise UsageError("--allow-http=false and --allow-grpc=false leave nothing to serve")
    _check_listeners(settings)
    if settings.arena_max_bytes < settings.arena_initial_bytes:
        raise UsageError(
            f"--arena-max-bytes={settings.arena_max_bytes} is less than --arena-initial-bytes="
            f"{settings.arena_initial_bytes}"
        )
    _check_ports(settings)
    if settings.worker_user is not None and settings.allow_client_shm:
        raise UsageError(
            "--allow-client-shm can not be used with --worker-user: workers could not open the "
            "clients' memory"
        )


def _check_listeners(settings: Settings) -> None:
    if unix_path(settings.http_address) == "":
        raise UsageError("--http-address=unix: needs a path, as in unix:/run/mpserve.sock")
    if unix_path(settings.grpc.address) == "":
        raise UsageError("--grpc-address=unix: needs a path, as in unix:/run/mpserve-grpc.sock")
    if settings.http.use_ssl and not (settings.http.server_cert and settings.http.server_key):
        raise UsageError("--http-use-ssl needs --http-server-cert and --http-server-key")
    if settings.http.use_ssl_mutual and not settings.http.root_cert:
        raise UsageError("--http-use-ssl-mutual needs --http-root-cert")
    if settings.grpc.use_ssl and not (settings.grpc.server_cert and settings.grpc.server_key):
        raise UsageError("--grpc-use-ssl needs --grpc-server-cert and --grpc-server-key")
    if settings.grpc.use_ssl_mutual and not settings.grpc.root_cert:
        raise UsageError("--grpc-use-ssl-mutual needs --grpc-root-cert")


def _check_ports(settings: Settings) -> None:
    listeners = [
        (name, address, port)
        for name, wanted, address, port in (
            ("HTTP", settings.allow_http, settings.http_address, settings.http_port),
            ("GRPC", settings.allow_grpc, settings.grpc.address, settings.grpc.port),
            ("metrics", settings.allow_metrics, settings.metrics_address, settings.metrics_port),
        )
        if wanted
    ]
    for (one, address, port), (other, other_address, other_port) in itertools.combinations(
        listeners, 2
    ):
        if address != other_address:
            continue
        if unix_path(address) is not None or port == other_port:
            place = address if unix_path(address) is not None else f"{address}:{port}"
            raise UsageError(
                f"The server cannot listen to {one} requests and {other} requests at the same "
                f"address and port {place}"
            )


def check_creation(settings: Settings) -> None:
    """Raise `CreationError` for settings that Triton's core refuses after the parser took them."""
    if not settings.model_repositories:
        raise CreationError("--model-repository must be specified")
    if len(settings.load_models) > 1 and ALL_MODELS[0] in settings.load_models:
        raise CreationError(
            "Wildcard model name '*' must be the ONLY startup model if specified at all."
        )


def warnings_about(settings: Settings, chosen: Chosen) -> tuple[str, ...]:
    """Return what the operator should know before the server starts."""
    found = [
        f"{name} listens on every interface of this machine ({address}:{port}); "
        f"--{name.lower()}-address=127.0.0.1 keeps it local"
        for name, wanted, address, port in (
            ("HTTP", settings.allow_http, settings.http_address, settings.http_port),
            ("gRPC", settings.allow_grpc, settings.grpc.address, settings.grpc.port),
            ("metrics", settings.allow_metrics, settings.metrics_address, settings.metrics_port),
        )
        if wanted and address in ANY_ADDRESS
    ]
    found += deprecations(chosen)
    if "strict-model-config" in chosen:
        found.append(
            "'--strict-model-config' has been deprecated! Please use "
            "'--disable-auto-complete-config' instead."
        )
        if "disable-auto-complete-config" in chosen and not chosen["strict-model-config"][-1]:
            found.append(
                "Overriding deprecated '--strict-model-config' from False to True in favor of "
                "'--disable-auto-complete-config'!"
            )
    return tuple(found)
