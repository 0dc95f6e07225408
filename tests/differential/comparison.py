"""What was found different, against what is listed as different."""

from collections.abc import Mapping

MOST_SHOWN = 100


def check(
    found: Mapping[str, tuple[object, object]],
    asked: set[str],
    wire: str,
    differences: Mapping[str, str],
) -> None:
    """Fail on a difference that is not listed, and on a listed one that there is not any more."""
    listed = {name for name in differences if name in asked}
    new = [f"{name}\n  theirs: {a}\n  ours:   {b}" for name, (a, b) in found.items()
           if name not in listed]  # fmt: skip
    gone = sorted(listed - set(found))
    told = "\n".join(new[:MOST_SHOWN])
    assert not new, f"{len(new)} of {len(asked)} over {wire} differ:\n{told}"
    assert not gone, f"listed, but alike: {gone}"
