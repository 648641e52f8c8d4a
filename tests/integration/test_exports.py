"""Exports: exact columns, rows that join to the store, and a dataset that TRL really trains on."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from karma.config.derived_streams import Derivation
from karma.config.settings import Price
from karma.errors import SettingsError
from karma.store import counting
from karma.store.export_filter import ExportFilter
from karma.store.records import VerdictRow
from karma.store.schema import responses
from karma.store.streams import check_stream
from karma_gateway import exports
from karma_gateway.exporters import provenance_of
from karma_gateway.rematch import derive
from tests.support.memory import Flow, make_pool
from tests.support.stores import memory

#: What models say: usual texts, empty ones, the same ones, failures.
SAYINGS = st.sampled_from(["yes", "no", "  ", "", "yes", "maybe so", "\u202eevil \x1b[31m</div>", None])


def flow_with(texts: list[list[str | None]], probabilities: list[float | None]) -> Flow:
    """Prompts answered with the given texts (None: a failure), judged with the given probabilities in turn."""
    store = memory()
    flow = Flow(store, make_pool("abc", stream={"responses_per_prompt": 0}))
    flow.accept(*({"id": str(n), "prompt": f"prompt {n}"} for n in range(len(texts))))
    flow.dispatcher.admit()
    turn = 0
    while messages := flow.messages():
        for message in messages:
            result = message
            if hasattr(message, "model"):
                place = "abc".index(message.model)
                answered = flow.answer(message)
                import msgspec

                items = [
                    msgspec.structs.replace(
                        one,
                        text=texts[number][place],
                        failure="timed out" if texts[number][place] is None else None,
                    )
                    for number, one in enumerate(answered.items)
                ]
                result = msgspec.structs.replace(answered, items=tuple(items))
            elif hasattr(message, "judge"):
                turn += 1
                probability = probabilities[turn % len(probabilities)]
                result = flow.judge(message, probability, failure=None if probability is not None else "unparsable")
            flow.handle(result)
    return flow


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.lists(SAYINGS, min_size=3, max_size=3), min_size=1, max_size=8),
    st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0, None]), min_size=1, max_size=5),
)
def test_no_row_is_corrupt_and_every_row_joins_to_the_store(
    texts: list[list[str | None]], probabilities: list[float | None]
) -> None:
    flow = flow_with(texts, probabilities)
    with flow.store.reading() as transaction:
        states = transaction.ledger.count_states()
        outcomes = counting.outcomes(counting.resolutions_by_outcome(transaction.ledger.connection))
        no_pair = counting.prompts_without_pair(transaction.ledger.connection).total()
    assert states["done"] == len(texts)
    assert sum(outcomes.values()) + no_pair == len(texts)
    rows = list(exports.rows(flow.store, "jsonl"))
    assert len(rows) == outcomes["decisive"]
    for row in rows:
        assert row["chosen"].strip()
        assert row["rejected"].strip()
        assert row["chosen"] != row["rejected"]
        own = row["karma"]
        said = texts[int(own["prompt_id"])]
        assert said["abc".index(own["chosen_model"])] == row["chosen"]
        assert said["abc".index(own["rejected_model"])] == row["rejected"]
        assert row["messages"] == [{"role": "user", "content": f"prompt {own['prompt_id']}"}]
        assert own["probability"] > 0.5


@pytest.fixture
def flow() -> Flow:
    store = memory()
    made = Flow(store)
    made.accept(*({"id": str(n), "prompt": f"Reverse the word ab{n}", "skill": "reverse"} for n in range(24)))
    made.finish()
    return made


def test_the_columns_of_trl_dpo_are_exact(flow: Flow) -> None:
    row = next(exports.rows(flow.store, "trl-dpo", bare=True))
    assert list(row) == ["prompt", "chosen", "rejected"]
    assert [turn["role"] for turn in row["prompt"]] == ["user"]
    for side in ("chosen", "rejected"):
        assert [list(turn) for turn in row[side]] == [["role", "content"]]
        assert row[side][0]["role"] == "assistant"
    assert list(next(exports.rows(flow.store, "trl-dpo"))) == ["prompt", "chosen", "rejected", "karma"]


def test_every_preference_carries_what_it_is_worth(flow: Flow) -> None:
    with flow.store.transaction() as transaction:
        for table in ("responses", "verdicts"):
            transaction.ledger.connection.exec_driver_sql(f"UPDATE {table} SET tokens_in = 100, tokens_out = 7")
    prices = {name: Price(input=1.0, output=2.0) for name in "abcj"}
    priced = [row["karma"] for row in exports.rows(flow.store, "jsonl", prices=prices)]
    unpriced = [row["karma"] for row in exports.rows(flow.store, "jsonl", prices={"a": prices["a"]})]
    for own, free, row in zip(priced, unpriced, exports.rows(flow.store, "jsonl"), strict=True):
        assert own["length_ratio"] == len(row["chosen"]) / len(row["rejected"])
        assert own["judge_agreement"] is None  # of one judge
        assert own["agrees_with_competency"] is None  # nothing was known yet
        assert 0.0 <= own["novelty"] <= 1.0
        assert own["tokens"] == free["tokens"] == 4 * 107  # two responses, and a verdict in each order
        assert own["cost"] == pytest.approx(4 * (100 + 2 * 7) / 1e6)
        assert free["cost"] is None
    assert priced[0]["novelty"] == 1.0 > priced[-1]["novelty"]  # all are of one template


@pytest.mark.parametrize(
    ("verdicts", "agreement", "judges"),
    [
        ([("j", 0, 0.9), ("j", 1, 0.2)], None, (1, 1)),
        ([("j", 0, 0.9), ("j", 1, 0.2), ("k", 0, 0.4), ("k", 1, 0.7)], 0.0, (2, 2)),
        ([("j", 0, 0.9), ("k", 0, 0.6), ("l", 0, None)], 1.0, (2, 3)),
        ([("i", 0, 0.9), ("j", 0, 0.8), ("k", 0, 0.1)], pytest.approx(1 / 3), (3, 3)),
        ([("j", 0, 0.5), ("k", 0, 0.6)], None, (2, 2)),
    ],
)
def test_judges_agree_where_they_take_the_same_side_and_those_that_failed_are_named(
    verdicts: list[tuple[str, int, float | None]], agreement: float | None, judges: tuple[int, int]
) -> None:
    given = [VerdictRow(1, judge, shown, probability, None) for judge, shown, probability in verdicts]
    row = SimpleNamespace(
        **{"chosen": 1, "response_a": 1, "chosen_text": "yes", "rejected_text": "", "chosen_model": "a"},
        **{"rejected_model": "b", "verdicts": given, "prices": {}, "reasons": '{"win_probability": 0.3}'},
        **{f"{side}_tokens_{way}": 5 for side in ("chosen", "rejected") for way in ("in", "out", "cached")},
        **{f"{side}_cost_usd": None for side in ("chosen", "rejected")},
        tie_margin=0.05,
    )
    found = provenance_of(row)
    assert found["judge_agreement"] == agreement
    assert (found["judges_valid"], found["judges_asked"]) == judges
    assert (found["tokens"], found["cost"], found["length_ratio"]) == (None, None, 3.0)
    assert found["agrees_with_competency"] is False


@pytest.mark.parametrize("form", ["trl-dpo", "jsonl"])
def test_json_lines_and_parquet_hold_the_same_rows(flow: Flow, tmp_path: Path, form: str) -> None:
    import pyarrow.parquet as pq

    for name in ("out.jsonl", "out.parquet"):
        assert exports.write(exports.rows(flow.store, form), tmp_path / name) == 24
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == lines


def test_an_empty_store_exports_no_rows(tmp_path: Path) -> None:
    store = memory()
    assert exports.write(exports.rows(store, "trl-dpo"), tmp_path / "none.jsonl") == 0
    assert exports.write(exports.rows(store, "trl-dpo"), tmp_path / "none.parquet") == 0


def test_another_file_ending_is_refused_and_leaves_nothing(flow: Flow, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"must end with \.jsonl or \.parquet"):
        exports.write(exports.rows(flow.store, "trl-dpo"), tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_names_the_known_ones(flow: Flow) -> None:
    with pytest.raises(SettingsError, match="no exporter is called 'csv'; known are: axolotl, .*trl-dpo"):
        list(exports.rows(flow.store, "csv"))


@pytest.mark.filterwarnings("ignore")
def test_trl_trains_on_the_export(flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    from karma_demo.family import checkpoint_path

    path = tmp_path / "preferences.jsonl"
    exports.write(exports.rows(flow.store, "trl-dpo", bare=True), path)
    dataset = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert dataset.column_names == ["prompt", "chosen", "rejected"]
    member = str(checkpoint_path("novice"))
    model = AutoModelForCausalLM.from_pretrained(member, dtype="float32")
    before = model.model.embed_tokens.weight.detach().clone()
    trainer = DPOTrainer(
        model=model,
        args=DPOConfig(
            output_dir=str(tmp_path / "dpo"),
            max_steps=4,
            per_device_train_batch_size=4,
            learning_rate=3e-4,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
        ),
        processing_class=AutoTokenizer.from_pretrained(member),
        train_dataset=dataset,
    )
    result = trainer.train()
    assert result.global_step == 4
    assert 0 < result.training_loss < 2
    assert not bool((trainer.model.model.embed_tokens.weight == before).all())


def test_an_export_can_be_of_policies_and_skills_and_without_repeated_texts() -> None:
    flow = Flow(memory())
    flow.accept(*({"id": str(n), "prompt": "the same", "skill": "ab"[n % 2]} for n in range(12)))
    flow.finish()
    with flow.store.transaction() as transaction:  # six different preferences
        transaction.ledger.connection.execute(update(responses).values(text="by " + responses.c.model))
    every = list(exports.rows(flow.store, "jsonl"))
    assert len(every) == 12

    def kept(**filters: Any) -> list[int]:
        return [row["karma"]["pair"] for row in exports.rows(flow.store, "jsonl", ExportFilter(**filters))]

    assert kept(skills=("a",)) == [row["karma"]["pair"] for row in every if row["karma"]["skill"] == "a"]
    assert kept(skills=("a", "b"), policies=(every[0]["karma"]["policy"],)) == kept()
    assert kept(policies=("another",)) == []
    texts = {(row["chosen"], row["rejected"]): row["karma"]["pair"] for row in reversed(every)}
    distinct = exports.rows(flow.store, "jsonl", ExportFilter(distinct=True))
    assert [row["karma"]["pair"] for row in distinct] == sorted(texts.values())
    assert distinct.reader.repeated == 12 - len(texts) >= 6


def test_preferences_that_a_format_has_no_place_for_are_counted_and_the_others_written(tmp_path: Path) -> None:
    flow = Flow(memory())
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    flow.accept({"prompt": "one"}, {"messages": chat}, {"messages": [chat[0], *chat]})
    flow.finish()
    rows = exports.rows(flow.store, "distilabel")
    assert exports.write(rows, tmp_path / "out.jsonl") == rows.preferences == 1
    assert rows.reader.left_out() == ["2 preferences left out, as distilabel has no place for several turns"]


def test_the_kto_export_is_mixed_and_no_two_answers_of_a_prompt_are_neighbors(flow: Flow, tmp_path: Path) -> None:
    for name in ("out.jsonl", "out.parquet"):
        assert exports.write(exports.rows(flow.store, "kto", bare=True), tmp_path / name) == 48
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    import pyarrow.parquet as pq

    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == lines
    assert all(first["prompt"] != second["prompt"] for first, second in pairwise([*lines, lines[0]]))
    assert 6 < sum(line["label"] for line in lines[:24]) < 18
    assert sum(line["label"] for line in lines) == 24
    unmixed = list(exports.rows(flow.store, "kto", bare=True))
    assert sorted(map(json.dumps, lines)) == sorted(map(json.dumps, unmixed))


def test_derived_streams_are_left_out_unless_one_is_named(flow: Flow) -> None:
    derived = Derivation("default", "random")
    derive(flow.store, derived)
    flow.finish()
    assert {row["karma"]["stream"] for row in exports.rows(flow.store, "jsonl")} == {"default"}
    named = [row["karma"]["stream"] for row in exports.rows(flow.store, "jsonl", ExportFilter(derived.name))]
    assert named
    assert set(named) == {derived.name}
    assert exports.expected(flow.store) is None


def test_a_stream_that_does_not_exist_is_refused_with_the_nearest_name(flow: Flow) -> None:
    with flow.store.reading() as transaction:
        connection = transaction.ledger.connection
        check_stream(connection, None)
        check_stream(connection, "default")
        with pytest.raises(SettingsError, match=r"no stream is called 'defualt' \(did you mean 'default'\?\)"):
            check_stream(connection, "defualt")


def test_finish_reasons_reasoning_and_metadata_are_exported_and_unfinished_sides_can_be_left_out() -> None:
    flow = Flow(memory())
    flow.accept(*({"id": str(n), "prompt": f"prompt {n}", "source": f"s{n}"} for n in range(8)))
    flow.finish()
    every = [row["karma"] for row in exports.rows(flow.store, "jsonl")]
    assert {row["metadata"] for row in every} == {json.dumps({"source": f"s{n}"}) for n in range(8)}
    ends = {0: "length", 1: "MAX_TOKENS", 2: "content_filter", 3: "stop", 4: None}
    with flow.store.transaction() as transaction:
        for index, end in ends.items():
            side = every[index]["chosen_response" if index % 2 else "rejected_response"]
            changed = update(responses).where(responses.c.id == side)
            transaction.ledger.connection.execute(changed.values(finish_reason=end, reasoning="hm"))
    after = [row["karma"] for row in exports.rows(flow.store, "jsonl")]
    assert [after[1]["chosen_finish_reason"], after[0]["rejected_finish_reason"]] == ["MAX_TOKENS", "length"]
    assert [after[1][f"{side}_has_reasoning"] for side in ("chosen", "rejected")] == [True, False]
    finished = exports.rows(flow.store, "jsonl", ExportFilter(finished=True))
    assert [row["karma"]["pair"] for row in finished] == [row["pair"] for row in every[3:]]


@pytest.mark.parametrize("end", ["FinishReason.MAX_TOKENS", "content-filter", "content_filter: RECITATION", " length "])
def test_an_unfinished_side_is_left_out_in_whatever_form_its_end_is_said(end: str) -> None:
    flow = Flow(memory())
    flow.accept(*({"id": str(n), "prompt": f"prompt {n}"} for n in range(8)))
    flow.finish()
    every = [row["karma"] for row in exports.rows(flow.store, "jsonl")]
    with flow.store.transaction() as transaction:
        changed = update(responses).where(responses.c.id == every[0]["chosen_response"])
        transaction.ledger.connection.execute(changed.values(finish_reason=end))

    finished = exports.rows(flow.store, "jsonl", ExportFilter(finished=True))

    assert [row["karma"]["pair"] for row in finished] == [row["pair"] for row in every[1:]]


@pytest.mark.parametrize(("most", "left"), [(1.0, 1), (1.5, 2), (2.0, 4), (100.0, 7)])
def test_preferences_with_lengths_beyond_a_ratio_can_be_left_out(most: float, left: int) -> None:
    """By characters, as in `karma.length_ratio`, whichever side is longer; those left out are counted."""
    flow = Flow(memory())
    flow.accept(*({"id": str(n), "prompt": f"prompt {n}"} for n in range(7)))
    flow.finish()
    lengths = [(1, 7), (2, 6), (3, 5), (4, 4), (6, 4), (6, 2), (8, 4)]
    made = list(exports.rows(flow.store, "jsonl"))
    with flow.store.transaction() as transaction:
        for row, (chosen, rejected) in zip(made, lengths, strict=True):
            for side, text in (("chosen", "ü" * chosen), ("rejected", "🦊" * rejected)):
                changed = update(responses).where(responses.c.id == row["karma"][f"{side}_response"])
                transaction.ledger.connection.execute(changed.values(text=text))
    every = list(exports.rows(flow.store, "jsonl"))
    within = [row for row in every if max(ratio := row["karma"]["length_ratio"], 1 / ratio) <= most]
    kept = ExportFilter(max_length_ratio=most)

    assert list(exports.rows(flow.store, "jsonl", kept)) == within
    assert len(within) == left
    with flow.store.reading() as transaction:
        assert transaction.preferences.too_unequal(kept) == 7 - left
        assert transaction.preferences.too_unequal(ExportFilter()) == 0
    assert exports.expected(flow.store, kept) is None


def test_a_plug_in_that_declares_its_columns_has_them_in_every_row(
    flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    def margins(row: object, bare: bool) -> dict[str, object]:
        return {"margin": next(values)}

    values = iter([1, 0.7] * 12)
    monkeypatch.setattr("karma.plugins.find", lambda _family, _name: margins)
    exports.write(exports.rows(flow.store, "margins"), tmp_path / "inferred.parquet")
    assert pq.read_table(tmp_path / "inferred.parquet")["margin"].to_pylist() == [1.0, 0.7] * 12

    values = iter([1, 0.7] * 12)
    margins.columns = {"margin": "int64"}  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match=r"declares margin as int64, but a row has 0\.7"):
        exports.write(exports.rows(flow.store, "margins"), tmp_path / "declared.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["inferred.parquet"]
