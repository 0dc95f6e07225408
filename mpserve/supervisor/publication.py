"""The routing table: rows for the frontends, made from what is."""

from typing import Final

import msgspec

from mpserve.control.messages import ModelEntry, PublishTable, VersionEntry
from mpserve.lifecycle.actual import (
    Actual,
    GenerationRecord,
    ModelRecord,
    earlier_generations,
    shown_versions,
)
from mpserve.model.config import ModelConfig
from mpserve.model.definition import ModelDefinition
from mpserve.model.identity import Generation, ModelName
from mpserve.model.state import ModelState
from mpserve.scheduling.waiting_limit import with_waiting_limit
from mpserve.supervisor.definition_memory import DefinitionMemory
from mpserve.supervisor.workers import Workers

DESCRIBED_PREFIX: Final = "described/"


class Publication:
    """Makes the rows. Remembers how a model was described last, for the time after its unload."""

    def __init__(self, workers: Workers, definitions: DefinitionMemory) -> None:
        self._workers = workers
        self._definitions = definitions
        known = (
            definitions.definition(fields["definition"])
            for fields in definitions.read_all(DESCRIBED_PREFIX)
        )
        self._described: dict[ModelName, ModelDefinition] = {
            definition.name: definition for definition in known if definition is not None
        }

    def table(
        self,
        actual: Actual,
        names: frozenset[ModelName],
        *,
        number: int,
        is_ready: bool,
        is_live: bool,
    ) -> PublishTable:
        """Return the message that tells the rows of `names` under `number`."""
        models = (actual.models[name] for name in sorted(names) if name in actual.models)
        entries = (self._entry(model) for model in models)
        return PublishTable(
            number=number,
            changed=tuple(entry for entry in entries if entry is not None),
            removed=(),
            server_ready=is_ready,
            server_live=is_live,
        )

    def _entry(self, model: ModelRecord) -> ModelEntry | None:
        definition = self._describe(model)
        if definition is None:
            return None  # it was wished away before it was ever described
        return ModelEntry(
            name=model.name,
            format=definition.format,
            runtime=definition.runtime,
            directory=definition.directory,
            settings_json=definition.settings_json,
            versions=self._versions(model),
            earlier=tuple(
                self._named(record, ModelState.UNLOADING) for record in earlier_generations(model)
            ),
        )

    def _describe(self, model: ModelRecord) -> ModelDefinition | None:
        """What serves describes the model; before that, what loads; after that, what served."""
        loading = next((one.definition for one in reversed(model.generations)), None)
        definition = model.definition or self._described.get(model.name) or loading
        if definition is not None and definition is not self._described.get(model.name):
            self._described[model.name] = definition
            self._definitions.put(
                f"{DESCRIBED_PREFIX}{model.name}",
                lambda number: {"definition": number(definition)},
            )
        return definition

    def _versions(self, model: ModelRecord) -> tuple[VersionEntry, ...]:
        entries = []
        for shown in shown_versions(model):
            record = model.serving(shown.version)
            if shown.state is ModelState.READY and record is not None:
                named = self._named(record, ModelState.READY)
                entries.append(msgspec.structs.replace(named, complaint=shown.complaint))
            else:
                entries.append(
                    VersionEntry(
                        version=shown.version,
                        state=shown.state,
                        reason=shown.reason,
                        generation=Generation(0),
                        queue_segment="",
                        config=ModelConfig(),
                        config_json="",
                    )
                )
        return tuple(entries)

    def _named(self, record: GenerationRecord, state: ModelState) -> VersionEntry:
        return VersionEntry(
            version=record.version.version,
            state=state,
            reason="",
            generation=record.generation,
            queue_segment=self._workers.queue_name(record.generation),
            config=with_waiting_limit(record.config, self._workers.settings),
            config_json=record.config_json,
        )
