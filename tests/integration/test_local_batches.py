"""Batches, memory, stops and number types of local models, on real tiny checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from karma.llm.checkpoint import precision_of
from karma.llm.generation import Generated
from karma.llm.transformers import LocalModel
from karma.messages import ModelSpec, Turn
from karma_demo.family import JUDGE, checkpoint_path
from karma_demo.tasks import tasks

TASKS = tasks("held_out", 12, 0)
CHATS = [(Turn("user", task.prompt),) for task in TASKS]
RESPONSES = [f"Answer: {task.reference}" for task in TASKS]


def spec(**more: object) -> ModelSpec:
    named = {
        "name": "tiny",
        "backend": "transformers",
        "model": str(checkpoint_path("generalist-large")),
        "temperature": 0.0,
        "max_tokens": 32,
        "on_length": "keep",
    } | more
    return ModelSpec(**named)  # type: ignore[arg-type]


def groups(asked: ModelSpec, seeds: Sequence[int] = range(len(CHATS))) -> list[list[tuple[int, Generated]]]:
    return list(LocalModel.load(asked).generate(CHATS, seeds, asked))


def texts(found: list[list[tuple[int, Generated]]]) -> list[str | None]:
    by_index = dict(pair for group in found for pair in group)
    assert sorted(by_index) == list(range(len(CHATS)))
    return [by_index[index].text for index in range(len(CHATS))]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, int], None]]:
    """Makes memory short: for more sequences than so many at once, and for longer rows than so many tokens."""
    models = [LocalModel.load(spec()), LocalModel.load(spec(model=str(checkpoint_path(JUDGE))))]

    def limit(sequences: int, tokens: int) -> None:
        for local in models:
            for name in ("generate", "forward"):
                plain = getattr(local._model, name)

                def run(*, input_ids: torch.Tensor, _plain: Any = plain, **more: Any) -> Any:
                    if len(input_ids) > sequences or input_ids.shape[1] > tokens:
                        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
                    return _plain(input_ids=input_ids, **more)

                if name == "generate":  # the forward passes of a generation have one token
                    monkeypatch.setattr(local._model, name, run)
                else:
                    monkeypatch.setattr(local, "_model", _Called(local._model, run))

    yield limit
    for local in models:
        local._fitted = None


class _Called:
    """A model whose calls are run otherwise."""

    def __init__(self, model: Any, run: Callable[..., Any]) -> None:
        self._wrapped, self._run = model, run

    def __call__(self, **inputs: Any) -> Any:
        return self._run(**inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


def test_a_batch_is_bounded_by_its_padded_tokens() -> None:
    whole, bounded = groups(spec()), groups(spec(batch_tokens=300))

    assert len(whole) == 1
    assert len(bounded) > 2
    for group in bounded:
        longest = max(result.tokens_in or 0 for _index, result in group)
        assert len(group) == 1 or len(group) * (longest + 32) <= 300
    assert texts(bounded) == texts(whole)


def test_where_memory_is_short_a_batch_is_halved_and_gives_the_same_answers(short: Callable[[int, int], None]) -> None:
    whole = texts(groups(spec()))
    short(4, 1000)

    found = groups(spec())

    assert [len(group) for group in found] == [3, 3, 3, 3]
    assert texts(found) == whole
    # What had fitted bounds the batches from then on.
    assert max(len(group) for group in groups(spec())) <= 4


def test_a_sequence_that_does_not_fit_alone_fails_alone_with_the_reason(short: Callable[[int, int], None]) -> None:
    lengths = [result.tokens_in or 0 for group in groups(spec()) for _index, result in group]
    short(4, max(lengths) - 1)

    failed = [result for group in groups(spec()) for _index, result in group if result.failure]

    assert len(failed) == lengths.count(max(lengths))
    assert {result.kind for result in failed} == {"out_of_memory"}
    said = "out of memory, even alone: CUDA out of memory. Tried to allocate 2.00 GiB."
    assert failed[0].failure == said


@pytest.mark.ci
def test_judging_halves_its_batches_too(short: Callable[[int, int], None]) -> None:
    judge = LocalModel.load(spec(model=str(checkpoint_path(JUDGE))))
    likelihoods = judge.log_likelihood(CHATS, RESPONSES)
    labels = judge.label_probability(CHATS)
    bounded = judge.log_likelihood(CHATS, RESPONSES, 32, 200)
    short(5, 1000)

    again, labels_again = judge.log_likelihood(CHATS, RESPONSES), judge.label_probability(CHATS)

    for one, halved, other in zip(likelihoods, again, bounded, strict=True):
        assert halved.failure is None
        assert halved.nats == pytest.approx(one.nats, abs=1e-3)
        assert other.nats == pytest.approx(one.nats, abs=1e-3)
    assert [label.first for label in labels_again] == pytest.approx([label.first for label in labels], abs=1e-5)

    short(5, 1)
    assert {one.failure for one in judge.log_likelihood(CHATS, RESPONSES)} == {
        "out of memory, even alone: CUDA out of memory. Tried to allocate 2.00 GiB."
    }
    assert all(label.failure for label in judge.label_probability(CHATS))


def test_a_generation_ends_before_its_stop() -> None:
    plain = texts(groups(spec()))
    stopped = [result for group in groups(spec(options={"stop": ["Answer", "zzz"]})) for result in group]

    assert sum("Answer" in (text or "") for text in plain) > 3
    for index, result in stopped:
        text = plain[index] or ""
        if text.startswith("Answer"):
            assert result.failure is not None
            assert "empty answer" in result.failure
        else:
            assert result.text == text.partition("Answer")[0]
        if "Answer" in text:
            assert result.finish_reason == "stop"
            assert (result.tokens_out or 0) < 32


def test_a_batch_again_gives_the_same_bytes_and_another_seed_does_not() -> None:
    asked = spec(temperature=0.7, concurrency=5)

    assert groups(asked) == groups(asked)
    assert texts(groups(asked)) != texts(groups(asked, range(100, 100 + len(CHATS))))

    judge = LocalModel.load(spec(model=str(checkpoint_path(JUDGE))))
    assert judge.log_likelihood(CHATS, RESPONSES, 5) == judge.log_likelihood(CHATS, RESPONSES, 5)


def test_several_models_are_on_one_device_at_once() -> None:
    one, other = LocalModel.load(spec()), LocalModel.load(spec(model=str(checkpoint_path("novice"))))

    assert one is not other
    assert one._model.device == other._model.device
    assert texts(groups(spec())) != texts(groups(spec(model=str(checkpoint_path("novice")))))


def test_a_number_type_and_a_device_that_are_named_are_taken() -> None:
    local = LocalModel.load(spec(dtype="bfloat16", device="cpu"))

    assert local._model.dtype == torch.bfloat16
    assert all(text is not None for text in texts(groups(spec(dtype="bfloat16", device="cpu"))))
    assert LocalModel.load(spec())._model.dtype == torch.float32


@pytest.mark.parametrize(
    ("own", "computes", "loaded"),
    [
        (torch.float32, True, torch.bfloat16),
        (None, True, torch.bfloat16),
        (torch.float32, False, "auto"),
        (torch.bfloat16, True, "auto"),
        (torch.float16, True, "auto"),
    ],
)
def test_the_number_type_on_a_gpu(
    own: torch.dtype | None, computes: bool, loaded: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: computes)
    text = SimpleNamespace(dtype=own)
    config = SimpleNamespace(get_text_config=lambda: text)
    quantized = SimpleNamespace(get_text_config=lambda: text, quantization_config={"bits": 4})

    assert precision_of("auto", torch.device("cuda"), config) == loaded
    assert precision_of("auto", torch.device("cuda"), quantized) == "auto"
    assert precision_of("auto", torch.device("cpu"), config) == torch.float32
    assert precision_of("float16", torch.device("cuda"), config) == "float16"
