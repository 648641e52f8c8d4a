"""Clean files of every format pass; forty corruptions are each found, named by kind and by row."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from karma.plugins.registry import EXPORTERS
from karma_gateway.exports.files import write
from karma_validation.problems import KINDS
from karma_validation.validate import Report, validate
from tests.contracts.test_export_formats import preference, rows

Row = dict[str, Any]
ROWS = 24


def clean(name: str) -> list[Row]:
    """Rows of different prompts, the chosen answer the longer one in half of them; those of KTO mixed."""
    made = [
        row
        for number in range(ROWS)
        for row in rows(
            name,
            preference(
                [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"What is {number} + 1?"}],
                chosen_text=f"It is {number + 1}." + " Sure." * (number % 2),
                rejected_text=f"It is {number + 2}!" + " Yes." * (1 - number % 2),
            ),
        )
    ]
    return sorted(made, key=lambda row: json.dumps(row["completion"])[::-1]) if name == "kto" else made


def save(path: Path, made: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in made))
    return path


def found(report: Report) -> set[tuple[str, int]]:
    return {(problem.kind, place.row) for problem in report.problems for place, _text in problem.examples}


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", EXPORTERS)
def test_a_clean_file_of_every_format_passes(name: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"clean.{ending}"
    write(clean(name), path, None, mixed=name == "kto")
    for form in (None, name):
        report = validate(path, form)
        assert list(report.problems) == []
        assert report.rows == ROWS * (2 if name == "kto" else 1)
        assert name in next(iter(report.files.values()))


def put(*path: Any) -> Callable[[Row], None]:
    """A change that sets the value at a path; the last part is the value."""
    *keys, last, value = path

    def change(row: Row) -> None:
        for key in keys:
            row = row[key]
        row[last] = copy.deepcopy(value)

    return change


def drop(name: str) -> Callable[[Row], None]:
    return lambda row: row.pop(name) and None


def double_prompt(row: Row) -> None:
    row["chosen"], row["rejected"] = row["prompt"] + row["chosen"], row["prompt"] + row["rejected"]


def equal(row: Row) -> None:
    row["rejected"] = copy.deepcopy(row["chosen"])


def as_text(*names: str) -> Callable[[Row], None]:
    def change(row: Row) -> None:
        for name in names:
            row[name] = json.dumps(row[name])

    return change


def text_beside_chats(row: Row) -> None:
    double_prompt(row)
    row["prompt"] = row["prompt"][-1]["content"]


USER = {"role": "user", "content": "And then?"}
ASSISTANT = {"role": "assistant", "content": "Then this."}
SYSTEM = {"role": "system", "content": "Be kind."}
TOOL = {"role": "tool", "content": "4"}

#: (format, kind of problem, what is done to a row)
CORRUPTIONS: list[tuple[str, str, Callable[[Row], Any]]] = [
    ("trl-dpo", "equal-sides", equal),
    ("trl-dpo-implicit", "equal-sides", equal),
    ("llama-factory", "equal-sides", equal),
    ("jsonl", "equal-sides", equal),
    ("trl-dpo", "null", put("chosen", None)),
    ("trl-dpo", "null", put("rejected", 0, "content", None)),
    ("kto", "null", put("label", None)),
    ("axolotl", "null", put("chosen", None)),
    ("distilabel", "null", put("instruction", None)),
    ("trl-dpo", "empty", put("chosen", 0, "content", " \n")),
    ("trl-dpo", "empty", put("prompt", [])),
    ("kto", "empty", put("completion", 0, "content", "")),
    ("jsonl", "empty", put("rejected", "")),
    ("trl-dpo", "role-order", lambda row: row["prompt"].append(ASSISTANT)),
    ("trl-dpo", "role-order", lambda row: row["prompt"].reverse()),
    ("reward", "role-order", lambda row: row["prompt"].insert(1, TOOL)),
    ("kto", "role-order", put("completion", 0, "role", "system")),
    ("llama-factory", "role-order", lambda row: row["conversations"].append({"from": "human", "value": "Well?"})),
    ("nemo-rl", "role-order", lambda row: row["context"].append(SYSTEM)),
    ("trl-dpo", "doubled-prompt", double_prompt),
    ("kto", "doubled-prompt", lambda row: row.update(completion=row["prompt"] + row["completion"])),
    ("ultrafeedback-binarized", "doubled-prompt", lambda row: row.update(prompt=row["chosen"][:2])),
    ("ultrafeedback-binarized", "text-beside-chats", lambda row: row.update(prompt=row["chosen"][1]["content"])),
    ("trl-dpo", "text-beside-chats", text_beside_chats),
    ("trl-dpo", "user-turn-in-answer", lambda row: row["chosen"].extend([USER, ASSISTANT])),
    ("trl-dpo-implicit", "user-turn-in-answer", lambda row: row["rejected"].extend([USER, ASSISTANT])),
    ("trl-dpo-implicit", "no-shared-turn", put("chosen", 0, "content", "Be verbose.")),
    ("reward", "margin", put("margin", math.nan)),
    ("reward", "margin", put("margin", -math.inf)),
    ("reward", "margin", put("margin", None)),
    ("openrlhf", "margin", put("margin", "1.5")),
    ("trl-dpo", "json-text", as_text("prompt", "chosen", "rejected")),
    ("axolotl", "json-text", as_text("messages")),
    ("trl-dpo", "unknown-role", put("prompt", 1, "role", "human")),
    ("kto", "wrong-type", put("label", 1)),
    ("llama-factory", "wrong-type", lambda row: row.update(chosen=[row["chosen"]])),
    ("nemo-rl", "rank", put("completions", 1, "rank", 0)),
    ("distilabel", "rating", put("ratings", ["N/A", 1.0])),
    ("axolotl", "frame", put("rejected", "content", "user")),
    ("trl-dpo", "missing-column", drop("rejected")),
    ("trl-dpo", "template-arguments", put("chat_template_kwargs", None)),
    ("trl-dpo", "tools", put("tools", [{"name": "a"}, {"name": "b"}])),
]


@pytest.mark.parametrize("index", range(len(CORRUPTIONS)))
def test_a_corruption_is_found_and_named_by_its_row(index: int, tmp_path: Path) -> None:
    name, kind, change = CORRUPTIONS[index]
    made = clean(name)
    row = random.Random(index).randrange(len(made))
    change(made[row])
    report = validate(save(tmp_path / "x.jsonl", made), name)
    assert (kind, row + 1) in found(report)
    assert {place for kind, place in found(report) if kind != "mixed-types"} == {row + 1}
    assert report.problems.count("error") >= 1


def test_there_are_forty_corruptions_of_single_rows() -> None:
    assert len(CORRUPTIONS) >= 40
    assert {kind for _name, kind, _change in CORRUPTIONS} <= KINDS.keys()


@pytest.mark.parametrize("text", ["{", "[1, 2]", "7", '{"a": 1} {"b": 2}', "\\x00"])
def test_a_line_that_is_no_row_is_named(text: str, tmp_path: Path) -> None:
    made: list[Any] = clean("trl-dpo")
    made[3] = text
    assert found(validate(save(tmp_path / "x.jsonl", made))) == {("unreadable", 4)}


def test_a_column_of_two_types_is_named_where_it_changes(tmp_path: Path) -> None:
    made = [{**row, "note": "007" if index != 5 else ["a"]} for index, row in enumerate(clean("trl-dpo"))]
    assert found(validate(save(tmp_path / "x.jsonl", made))) == {("mixed-types", 6)}


def test_a_type_that_shows_after_10_mib_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("karma_validation.across._TYPED_BYTES", 2_000)
    made = [{**row, "skill": "x" if index >= 20 else None, "n": index} for index, row in enumerate(clean("trl-dpo"))]
    made[22]["n"] = 0.5
    named = found(validate(save(tmp_path / "x.jsonl", made)))
    assert named == {("late-type", row) for row in (21, 22, 23, 24)}


def test_kto_rows_in_the_order_of_their_pairs_or_of_their_labels_are_named(tmp_path: Path) -> None:
    pairs = sorted(clean("kto"), key=lambda row: json.dumps(row["prompt"]))
    named = found(validate(save(tmp_path / "x.jsonl", pairs)))
    assert named == {("unmixed", row) for row in range(2, 2 * ROWS + 1, 2)}
    many = [{**row, "prompt": [{"role": "user", "content": f"{n}"}]} for n, row in enumerate(clean("kto") * 4)]
    many.sort(key=lambda row: not row["label"])
    report = validate(save(tmp_path / "y.jsonl", many))
    (problem,) = report.problems
    assert (problem.kind, problem.examples[0][0].row) == ("unmixed", 1)
    assert "96 rows have the label true" in problem.examples[0][1]


def folder(path: Path, splits: dict[str, list[Row]]) -> Path:
    path.mkdir()
    for split, made in splits.items():
        save(path / f"{split}-00000.jsonl", made)
    return path


def test_a_prompt_on_both_sides_of_a_split_is_named_whatever_its_case(tmp_path: Path) -> None:
    made = clean("trl-dpo")
    leaked = copy.deepcopy(made[2])
    leaked["prompt"][-1]["content"] = "  what IS 2 + 1?"
    leaked["chosen"][0]["content"] = "Another answer."
    report = validate(folder(tmp_path / "data", {"train": made[:20], "test": [*made[20:], leaked]}))
    assert found(report) == {("split-leak", 3)}  # files in the order of their names: test comes first
    (problem,) = report.problems
    assert problem.examples[0][0].file.endswith("train-00000.jsonl")
    assert "test-00000.jsonl:5" in problem.examples[0][1]
    assert report.splits == {"train": 20, "test": 5}


def test_rows_that_repeat_or_contradict_others_are_warnings(tmp_path: Path) -> None:
    made = clean("trl-dpo")
    opposite = {**made[4], "chosen": made[4]["rejected"], "rejected": made[4]["chosen"]}
    report = validate(save(tmp_path / "x.jsonl", [*made, made[3], opposite]))
    assert found(report) == {("repeated", ROWS + 1), ("contradiction", ROWS + 2)}
    assert report.problems.count("error") == 0


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_a_side_that_is_nearly_always_the_longer_one_is_a_warning(side: str, tmp_path: Path) -> None:
    made = []
    for number in range(120):
        row = copy.deepcopy(clean("trl-dpo")[0]) if not made else copy.deepcopy(made[0])
        row["prompt"][-1]["content"] = f"{number}?"
        row["chosen"], row["rejected"] = ([{"role": "assistant", "content": text}] for text in ("short", "brief"))
        row[side][0]["content"] += " and much longer" if number % 10 else ""
        made.append(row)
    (problem,) = validate(save(tmp_path / "x.jsonl", made)).problems
    assert problem.kind == "length-bias"
    assert f"the {side} side is the longer one in 100.0% of 108 rows" in problem.examples[0][1]


def test_examples_are_limited_and_all_rows_are_counted(tmp_path: Path) -> None:
    made = clean("trl-dpo")
    for row in made:
        row["chosen"] = None
    (problem,) = validate(save(tmp_path / "x.jsonl", made), examples=3).problems
    assert (problem.count, len(problem.examples)) == (ROWS, 3)


def test_the_docs_list_every_kind_of_problem() -> None:
    page = (Path(__file__).parents[3] / "docs" / "training_data.md").read_text()
    for kind, (severity, meaning) in KINDS.items():
        assert f"| `{kind}` | {severity} | {meaning} |" in page
