from mpserve.errors import ErrorCode, Failure
from mpserve.repository.found import ScanOptions, ScanResult
from mpserve.repository.stillness import settle

SETTLE_NS = 100


def result(**tokens: str) -> ScanResult:
    """Return a scan in which each model is broken for the reason that is its token."""
    return ScanResult(
        options=ScanOptions(),
        definitions={},
        broken={
            name: Failure(code=ErrorCode.INTERNAL, message=token) for name, token in tokens.items()
        },
        duplicates={},
        names=tuple(sorted(tokens)),
        unreadable_roots={},
        tokens=dict(tokens),
        notes=(),
        folders={},
    )


def settled(taken, current, sightings, now_ns):
    return settle(
        taken=taken, current=current, sightings=sightings, now_ns=now_ns, settle_ns=SETTLE_NS
    )


def seen(result):
    return {name: failure.message for name, failure in result.broken.items()}


def test_nothing_changed_is_settled_at_once():
    now = settled(result(a="1"), result(a="1"), {}, 5)
    assert now.unsettled == ()
    assert seen(now.result) == {"a": "1"}


def test_a_change_waits_until_it_has_been_still():
    taken, changed = result(a="1"), result(a="2")
    first = settled(taken, changed, {}, 0)
    assert first.unsettled == ("a",)
    assert seen(first.result) == {"a": "1"}
    early = settled(first.result, changed, first.sightings, SETTLE_NS - 1)
    assert seen(early.result) == {"a": "1"}
    last = settled(early.result, changed, early.sightings, SETTLE_NS)
    assert last.unsettled == ()
    assert seen(last.result) == {"a": "2"}


def test_each_further_change_starts_the_wait_anew():
    first = settled(result(a="1"), result(a="2"), {}, 0)
    second = settled(first.result, result(a="3"), first.sightings, SETTLE_NS)
    assert seen(second.result) == {"a": "1"}
    third = settled(second.result, result(a="3"), second.sightings, 2 * SETTLE_NS)
    assert seen(third.result) == {"a": "3"}


def test_a_change_that_goes_back_is_forgotten():
    first = settled(result(a="1"), result(a="2"), {}, 0)
    back = settled(first.result, result(a="1"), first.sightings, 1)
    assert back.unsettled == ()
    again = settled(back.result, result(a="2"), back.sightings, SETTLE_NS)
    assert again.unsettled == ("a",)


def test_a_new_model_waits_and_then_comes():
    first = settled(result(), result(a="1"), {}, 0)
    assert first.result.names == ()
    last = settled(first.result, result(a="1"), first.sightings, SETTLE_NS)
    assert last.result.names == ("a",)


def test_a_vanished_model_stays_until_its_absence_is_still():
    first = settled(result(a="1", b="1"), result(b="1"), {}, 0)
    assert first.result.names == ("a", "b")
    last = settled(first.result, result(b="1"), first.sightings, SETTLE_NS)
    assert last.result.names == ("b",)


def test_a_model_that_never_rests_holds_up_no_other():
    taken, sightings = result(a="0", b="0"), {}
    for step in range(1, 4):
        now = settled(taken, result(a=str(step), b="1"), sightings, step * SETTLE_NS)
        taken, sightings = now.result, now.sightings
    assert seen(taken) == {"a": "0", "b": "1"}


def test_no_settle_time_takes_every_change_at_once():
    now = settle(taken=result(a="1"), current=result(a="2"), sightings={}, now_ns=0, settle_ns=0)
    assert seen(now.result) == {"a": "2"}
