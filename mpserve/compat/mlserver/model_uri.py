"""Where the artifact of a model lies."""

from pathlib import Path
from urllib.parse import unquote, urlparse

from mpserve.compat.mlserver.errors import InvalidModelURI
from mpserve.compat.mlserver.settings import ModelSettings


async def get_model_uri(
    settings: ModelSettings, wellknown_filenames: list[str] | None = None
) -> str:
    """Return the path, or the remote URL, that `parameters.uri` means.

    A relative path is relative to the settings' file. Of a folder, the first well-known file that
    is there is returned, else the folder.

    Raises
    ------
    InvalidModelURI
        There is no URI, or nothing lies there.
    """
    return model_uri(settings, tuple(wellknown_filenames or ()))


def model_uri(settings: ModelSettings, wellknown_filenames: tuple[str, ...]) -> str:
    """Return what `get_model_uri` returns, without an event loop."""
    uri = settings.parameters.uri if settings.parameters else None
    if not uri:
        raise InvalidModelURI(settings.name)
    parsed = urlparse(uri)
    if parsed.scheme not in {"", "file"}:
        return uri
    local = unquote(parsed.path) if parsed.scheme == "file" else uri
    path = Path(to_absolute_path(settings, local))
    for filename in wellknown_filenames if path.is_dir() else ():
        if (path / filename).is_file():
            return str(path / filename)
    if not path.exists():
        raise InvalidModelURI(settings.name, str(path))
    return str(path)


def to_absolute_path(model_settings: ModelSettings, uri: str) -> str:
    """Return `uri` relative to the folder of the settings' file, if they came from a file."""
    source = model_settings._source  # noqa: SLF001  # the peer's name for it
    if source is None:
        return uri
    folder = Path(source).parent.resolve()
    # `..` goes back by name, not along symbolic links: the file decides, not the disk.
    parts: list[str] = []
    for part in (folder / uri).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return str(Path(*parts))
