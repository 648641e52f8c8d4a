"""Every item of a batch is answered exactly once, whatever its backend does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest
from msgspec.structs import replace

from karma.messages import Answer, GenerateBatch, GenerateItem, Header, ModelSpec, ScoreBatch, Turn
from karma.messages.wire import decode, encode
from karma_generation.handlers import Ask, generate

SPEC = ModelSpec(name="red", backend="test", model="red")
ITEMS = tuple(GenerateItem(n, 100 + n, n % 2, n, (Turn("user", f"Question {n}"),)) for n in range(4))


BATCH = GenerateBatch(header=Header(stream="s", batch="b", token="t"), model="red", specification="f", items=ITEMS)


def answer(item: GenerateItem, text: str | None = "Yes.", **more: object) -> Answer:
    return Answer(item=item.item, prompt=item.prompt, model="red", sample=item.sample, text=text, **more)  # type: ignore[arg-type]


def outcome(ask: Ask) -> list[ScoreBatch]:
    return list(generate(BATCH, SPEC, ask))


def one_group(*answers: Answer) -> Ask:
    def ask(_spec: ModelSpec, _items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        yield answers

    return ask


def test_answers_go_on_in_parts_as_they_come() -> None:
    def ask(_spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        yield [answer(items[2])]
        yield [answer(items[0]), answer(items[1]), answer(items[3])]

    parts = outcome(ask)

    assert [part.header.part for part in parts] == [0, 1]
    assert [[one.item for one in part.items] for part in parts] == [[2], [0, 1, 3]]
    assert all((part.header.batch, part.header.token) == ("b", "t") for part in parts)


def test_an_item_the_backend_forgot_is_reported_as_a_failure() -> None:
    *_, last = outcome(one_group(*(answer(item) for item in ITEMS[:3])))

    assert [(one.item, one.text, one.failure) for one in last.items] == [(3, None, "the backend of red gave no answer")]


def test_a_backend_that_raises_fails_what_was_open_and_keeps_what_was_answered() -> None:
    def ask(_spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        yield [answer(items[0])]
        raise ConnectionError("https://user:secret@host")

    first, rest = outcome(ask)

    assert first.items[0].text == "Yes."
    assert {one.failure for one in rest.items} == {"the backend of red failed: ConnectionError"}
    assert [(one.item, one.prompt, one.sample) for one in rest.items] == [(1, 101, 1), (2, 102, 0), (3, 103, 1)]


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_an_answer_without_text_is_a_failure_and_never_an_empty_text(text: str | None) -> None:
    part = outcome(one_group(*(answer(item, text) for item in ITEMS)))[0]

    assert {one.text for one in part.items} == {None}
    assert all((one.failure or "").startswith("empty answer") for one in part.items)


def test_the_policies_of_a_model_hold_for_every_backend() -> None:
    cut, thought, *_ = (answer(item) for item in ITEMS)
    part = outcome(
        one_group(
            replace(cut, text="An answ", finish_reason="length"),
            replace(thought, text="<think>Hm.</think>\n\nYes."),
        )
    )[0]

    assert [(one.text, one.reasoning) for one in part.items] == [(None, None), ("Yes.", "Hm.")]
    assert (part.items[0].failure or "").startswith("unfinished answer: finish_reason length")


def test_reasoning_that_a_backend_separated_is_not_separated_again() -> None:
    text = "End it with </think> then."
    part = outcome(one_group(*(answer(item, text, reasoning="Hm.") for item in ITEMS)))[0]

    assert {(one.text, one.reasoning) for one in part.items} == {(text, "Hm.")}


def test_an_answer_with_a_text_and_a_failure_is_a_failure() -> None:
    part = outcome(one_group(*(answer(item, failure="cut off") for item in ITEMS)))[0]

    assert {(one.text, one.failure) for one in part.items} == {(None, "cut off")}


def test_an_answer_stands_under_the_names_of_its_item_whatever_the_backend_wrote() -> None:
    foreign = Answer(item=0, prompt=7, model="blue", sample=9, text="Yes.")

    found = outcome(one_group(foreign))[0].items[0]

    assert (found.prompt, found.model, found.sample) == (100, "red", 0)


def test_importing_the_backends_loads_neither_torch_nor_aiohttp() -> None:
    code = (
        "import sys, karma_generation.backends, karma_generation.handlers; "
        "print({'torch', 'transformers', 'aiohttp'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_an_answer_out_of_bounds_fails_alone_and_a_long_reason_is_cut() -> None:
    """Its receiver would refuse the whole message."""
    good, huge, long, odd = (answer(item) for item in ITEMS)
    huge = replace(huge, tokens_in=2**70)
    long = replace(long, text=None, failure="x" * 9_000)
    odd = replace(odd, finish_reason="y" * 9_000)
    (part,) = outcome(one_group(good, huge, long, odd))
    found = {one.item: one for one in part.items}
    assert found[0].text == "Yes."
    assert found[1].failure is not None
    assert "cannot be used" in found[1].failure
    assert len(found[2].failure or "") == 500
    assert (found[3].text, len(found[3].finish_reason or "")) == ("Yes.", 200)
    assert decode(encode(part)) == part


def test_a_tag_in_the_answer_of_a_model_without_reasoning_belongs_to_the_answer() -> None:
    """The backend separated what there was: nothing."""
    part, _missing = outcome(one_group(answer(ITEMS[0], "Close it with </think> now.", reasoning="")))
    assert (part.items[0].text, part.items[0].reasoning) == ("Close it with </think> now.", None)
