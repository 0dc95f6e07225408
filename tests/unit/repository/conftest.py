"""Model folders for the tests of this room."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mpserve.repository import ScanOptions, ScanResult, scan

Files = Mapping[str, str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return an empty root."""
    path = tmp_path / "models"
    path.mkdir()
    return path


@pytest.fixture
def write(root: Path) -> Callable[[Files], None]:
    """Write files by their path below the root."""

    def write_files(files: Files) -> None:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write_files


@pytest.fixture
def scan_root(root: Path) -> Callable[..., ScanResult]:
    """Scan the root."""

    def scan_it(previous: ScanResult | None = None, **options: object) -> ScanResult:
        return scan([str(root)], previous, ScanOptions(**options))

    return scan_it
