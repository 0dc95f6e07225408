"""How the operator sets Python's `logging` up in every process."""

import msgspec


class LoggingSetup(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two forms that Python has.

    Attributes
    ----------
    config_json
        JSON of what `logging.config.dictConfig` takes; "" for none.
    ini_path
        Absolute path of what `logging.config.fileConfig` takes; "" for none.
    folders
        Where modules are looked for that it names, before all others.
    """

    config_json: str = ""
    ini_path: str = ""
    folders: tuple[str, ...] = ()

    @property
    def is_set(self) -> bool:
        """Whether logging was set up at all."""
        return bool(self.config_json or self.ini_path)
