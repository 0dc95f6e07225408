"""Class labels of outputs, read from the label files that a model's configuration names."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from mpserve.dispatch.routing_table import RoutedModel
from mpserve.telemetry import log

MAX_LABELS_BYTES: Final = 16 * 1024 * 1024  # far beyond any list of classes


class LabelFiles:
    """Labels by generation, read when a client first asks for classes. They never change in one."""

    def __init__(self) -> None:
        self._labels: dict[int, dict[str, tuple[str, ...]]] = {}

    def labels(self, routed: RoutedModel) -> dict[str, tuple[str, ...]]:
        """Return output name -> labels by index."""
        generation = routed.version.generation
        known = self._labels.get(generation)
        if known is None:
            known = {
                output: _read(Path(routed.model.directory), filename)
                for output, filename in routed.version.config.label_files.items()
            }
            self._labels[generation] = known
        return known

    def keep(self, generations: Callable[[], set[int]]) -> None:
        """Forget the labels of all others; when none are known, nobody is asked."""
        if self._labels:
            kept = generations()
            self._labels = {one: row for one, row in self._labels.items() if one in kept}


def _read(directory: Path, filename: str) -> tuple[str, ...]:
    """Read one file; when it can not be read, or lies outside the model, classes have no labels."""
    try:
        path = (directory / filename).resolve()
        if not path.is_relative_to(directory.resolve()):
            raise PermissionError(f"'{filename}' is not within the model's directory")
        with path.open(encoding="utf-8", errors="replace") as lines:
            return tuple(lines.read(MAX_LABELS_BYTES).splitlines())
    except OSError as error:
        log.warning("labels.unreadable", directory=str(directory), file=filename, error=str(error))
        return ()
