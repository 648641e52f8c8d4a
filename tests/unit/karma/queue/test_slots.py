"""Slots of a queue: counted from delivery to the end, whatever happens between."""

from __future__ import annotations

from karma.queue.slots import Slots


def test_a_queue_is_full_from_delivery_on_and_says_when_it_has_room_again() -> None:
    slots, said = Slots(), []
    slots.on_room = lambda: said.append("room")
    slots.limit(2)
    slots.deliver("q")
    assert not slots.is_full("q")
    slots.start("q")
    slots.deliver("q")
    assert slots.is_full("q")
    assert not slots.is_full("other")
    slots.start("q")
    slots.end("q")
    assert not slots.is_full("q")
    slots.end("q")
    assert said == ["room"]


def test_without_a_limit_no_queue_is_full() -> None:
    slots = Slots()
    for _batch in range(100):
        slots.deliver("q")
    assert not slots.is_full("q")


def test_what_was_delivered_and_never_started_holds_no_slot_after_a_restart_of_the_consumer() -> None:
    slots = Slots()
    slots.limit(2)
    slots.deliver("q")
    slots.start("q")
    slots.deliver("q")
    slots.forget_delivered("q")
    assert not slots.is_full("q")
    slots.start("q")
    assert slots.is_full("q"), "it did start"
    slots.end("q")
    slots.end("q")
    slots.deliver("q")
    assert not slots.is_full("q")
