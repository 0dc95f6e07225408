"""The repository as the supervisor sees it: the last scan, and the overrides that are in force.

Guarantees
    Scans run one after another, in a thread, so that a slow disk delays no event.
Source
    Triton: an override of the configuration holds until the model's files change; one with files
    until the next load.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from mpserve.dialect import DialectName
from mpserve.errors import MpserveError
from mpserve.model.definition import ConfigFormat, ModelDefinition
from mpserve.model.identity import ModelName
from mpserve.model.rate_limit import read_limits
from mpserve.repository import (
    Listing,
    Override,
    PrivateFolder,
    ScanOptions,
    ScanResult,
    discard,
    forget_texts,
    list_models,
    listing_of,
    prepare_parsing,
    scan,
    scan_model,
    share_folder,
)
from mpserve.settings import ModelControlMode, RateLimitMode, Settings
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.telemetry import log

KEY: Final = "view"
_FORMATS: Final = {
    DialectName.TRITON: ConfigFormat.TRITON,
    DialectName.MLSERVER: ConfigFormat.MLSERVER,
}


def scan_options(settings: Settings) -> ScanOptions:
    """Return how the repositories are read under `settings`."""
    return ScanOptions(
        format=_FORMATS[settings.dialect],
        auto_complete=not settings.disable_auto_complete_config,
        config_name=settings.model_config_name,
        environment=settings.model_environment,
        parallel_workers=settings.parallel_workers,
        rate_limits=(
            read_limits(settings.rate_limit_resources)
            if settings.rate_limit is RateLimitMode.EXECUTION_COUNT
            else None
        ),
    )


class ViewRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the checkpoint has of the view: overrides in force, and folders of files of calls."""

    overrides: dict[ModelName, ModelDefinition] = {}
    folder: str = ""
    temporary: tuple[str, ...] = ()


class RepositoryView:
    """Reads the repositories and remembers what it read."""

    def __init__(self, settings: Settings, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._roots = settings.model_repositories
        self._options = scan_options(settings)
        self._worker_user = settings.worker_user
        self._is_polled = settings.model_control_mode is ModelControlMode.POLL
        self._is_explicit = settings.model_control_mode is ModelControlMode.EXPLICIT
        self._listed = Listing(names=(), duplicates=frozenset())
        self._last: ScanResult | None = None
        self._lock = asyncio.Lock()
        self._noted: frozenset[str] = frozenset()
        self._noted_at_loads: dict[ModelName, tuple[str, ...]] = {}
        known = checkpoint.read(KEY, ViewRecord) or ViewRecord()
        self._overrides = dict(known.overrides)
        self._folder = PrivateFolder.adopted(known.folder) if known.folder else None
        self._temporary = set(known.temporary)

    @property
    def roots(self) -> tuple[str, ...]:
        """Absolute paths of the repositories."""
        return self._roots

    def scan_now(self) -> ScanResult:
        """Read all repositories in this thread; for the start, when nothing else is to be done."""
        return self._took(scan(self._roots, self._last, self._options))

    async def prepare(self) -> None:
        """Make the first load call as quick as any later one, where calls load Triton's models."""
        if self._is_explicit and self._options.format is ConfigFormat.TRITON:
            await asyncio.to_thread(prepare_parsing)

    async def scan(self) -> ScanResult:
        """Read all repositories."""
        async with self._lock:
            return self._took(await asyncio.to_thread(scan, self._roots, self._last, self._options))

    async def listing(self) -> Listing:
        """Return which models there are now; does not wait for scans that go on.

        Where the server follows the repository itself, what it saw last counts.
        """
        if self._is_polled and self._last is not None:
            return listing_of(self._last)
        if self._options.format is not ConfigFormat.TRITON:
            return listing_of(await self.scan())
        before = self._listed.folders
        self._listed = await asyncio.to_thread(list_models, self._roots, before, self._options)
        return self._listed

    def fault(self, name: ModelName) -> str:
        """Return what is wrong with a model's folder; "" for nothing, and when only loads look."""
        broken = self._last.broken.get(name) if self._last is not None else None
        return broken.message if broken is not None and not self._is_explicit else ""

    async def model(self, name: ModelName, override: Override | None) -> ModelDefinition:
        """Return what a load of `name` should load.

        Raises
        ------
        MpserveError
            Of the kinds that `mpserve.repository.scan_model` raises.
        """
        notes: list[str] = []
        async with self._lock:
            options = self._options
            if override is not None and override.files:
                options = replace(options, override_directory=self._private_folder())
            found = await asyncio.to_thread(
                scan_model,
                name,
                self._roots,
                options,
                override,
                previous=self._last,
                tell=notes.append,
            )
        self._tell_of_load(found.name, tuple(notes))
        if found.temporary:
            self._let_workers_read(found.directory)
            self._temporary.add(found.directory)
            self._note()
        in_force = self._overrides.get(name)
        is_plain = override is None or not (override.config or override.files)
        if is_plain and in_force is not None and _is_untouched(found, in_force):
            return in_force
        return found

    async def is_unchanged(self, definition: ModelDefinition) -> bool:
        """Return whether a scan would still find exactly this."""
        try:
            return await self.model(definition.name, None) == definition
        except MpserveError:
            return False

    def remember(self, definition: ModelDefinition, override: Override | None) -> None:
        """Note what was loaded, and whether an override is in force from now on."""
        if override is not None and override.config and not definition.temporary:
            self._overrides[definition.name] = definition
        elif self._overrides.get(definition.name) is not definition:
            self._overrides.pop(definition.name, None)
        else:
            return
        self._note()

    def forget(self, name: ModelName) -> None:
        """Note that the model was unloaded: no override is in force, and nothing of it is kept."""
        for root in self._roots:
            forget_texts(f"{root}/{name}")
        if self._overrides.pop(name, None) is not None:
            self._note()

    @property
    def has_temporary(self) -> bool:
        """Whether there are directories of files of load calls."""
        return bool(self._temporary)

    def discard_all_but(self, directories: Iterable[str]) -> None:
        """Remove the temporary model directories that nothing is loaded from."""
        for directory in self._temporary - set(directories):
            self._temporary.discard(directory)
            discard(directory)

    def close(self) -> None:
        """Remove all temporary model directories: the server ends."""
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _private_folder(self) -> str:
        if self._folder is None:
            self._folder = PrivateFolder.create()
            self._let_workers_read(self._folder.path)
            self._note()
        return self._folder.path

    def _let_workers_read(self, path: str) -> None:
        if self._worker_user is not None:
            share_folder(path, self._worker_user.gid)

    def _note(self) -> None:
        self._checkpoint.put(
            KEY,
            ViewRecord(
                overrides=self._overrides,
                folder=self._folder.path if self._folder is not None else "",
                temporary=tuple(self._temporary),
            ),
        )

    def _tell_of_load(self, name: ModelName, notes: tuple[str, ...]) -> None:
        known = self._noted.union(self._noted_at_loads.get(name, ()))
        for note in notes:
            if note not in known:
                log.warning("repository.doubted", reason=note)
        self._noted_at_loads[name] = notes

    def _took(self, result: ScanResult) -> ScanResult:
        for path in self._last.folders if self._last is not None else {}:
            if path not in result.folders:
                forget_texts(path)
        self._last = result
        told = frozenset(result.notes) | {one.message for one in result.unreadable_roots.values()}
        for note in sorted(told - self._noted):
            log.warning("repository.doubted", reason=note)
        self._noted = told
        return result


def _is_untouched(found: ModelDefinition, in_force: ModelDefinition) -> bool:
    return (
        found.directory == in_force.directory and found.snapshot_digest == in_force.snapshot_digest
    )
