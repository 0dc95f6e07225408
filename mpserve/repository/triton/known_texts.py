"""What the texts of configuration files mean that were read last, each kept once.

A reload reads the same text again, and parsing it would be the largest part of reading its model.

Guarantees
    A meaning is kept while one of the last files that had its text is; who lets go of a folder has
    the memory back. A scan in a thread may go on meanwhile.
"""

from typing import Final

from mpserve.model.triton.config import TritonConfig

MOST_FILES: Final = 64


class KnownTexts:
    """Meanings of texts, for as long as a file is known to have them."""

    def __init__(self) -> None:
        self._meanings: dict[str, TritonConfig] = {}
        self._texts: dict[str, str] = {}  # by path, the one that was read last at the end

    def meaning(self, text: str) -> TritonConfig | None:
        """Return what `text` means, if that is known."""
        return self._meanings.get(text)

    def keep(self, path: str, text: str, meaning: TritonConfig) -> None:
        """Remember what the file at `path` says, in place of what it said before."""
        self._let_go(path)
        self._meanings[text] = meaning
        self._texts[path] = text
        for oldest in list(self._texts)[:-MOST_FILES]:
            self._let_go(oldest)

    def forget(self, folder: str) -> None:
        """Let go of the files in `folder`."""
        for path in [one for one in list(self._texts) if one.startswith(f"{folder}/")]:
            self._let_go(path)

    def _let_go(self, path: str) -> None:
        text = self._texts.pop(path, None)
        if text is not None and text not in list(self._texts.values()):
            self._meanings.pop(text, None)
