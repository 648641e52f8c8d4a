"""A stream of the goal `train` through real processes: most labels come from the competencies, and they are right."""

from __future__ import annotations

import json
from pathlib import Path

from karma.config.goals import SETTINGS
from tests.support.pipeline import Pipeline

MODELS = "abcde"
PROMPTS, AT_ONCE = 400, 100
POOL = (
    '[stream]\ngoal = "train"\npolicy = "random"\nresponses_per_prompt = 2\npairs_per_prompt = 1\n'
    '[pipeline]\nrefit_every_s = 0.2\nwindow = 32\n[judges.j]\nkind = "instant"\n'
    "both_orders = false\n" + "".join(f'[models.{name}]\nbackend = "instant"\nmodel = "{name}"\n' for name in MODELS)
)


def test_goal_train_labels_what_it_is_sure_of_and_judges_the_rest(tmp_path: Path) -> None:
    """The judge prefers the text that comes first in the alphabet, so that `a` is better than `b`, and so on.

    The policy is set by hand: of models with such an order the goal's would pair the first and the last nearly always.
    """
    karma = Pipeline(tmp_path, POOL, "tests.support.instant")
    with karma.up():
        for first in range(0, PROMPTS, AT_ONCE):
            lines = "".join(json.dumps({"prompt": f"Say {n}."}) + "\n" for n in range(first, first + AT_ONCE))
            done = karma.run("enqueue", "-", "--wait", text=lines)
        assert "labels: " in done.stderr
        more = karma.run("enqueue", "-", "--json", text='{"prompt": "Say 0."}\n')
        status = karma.status()
    out = tmp_path / "pairs.jsonl"
    exported = karma.call("export", "jsonl", str(out), "--json")
    note = karma.call("export", "jsonl", str(out)).stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    predicted = [row for row in rows if row["karma"]["label_source"] == "predicted"]

    assert status["prompts"]["done"] == PROMPTS
    assert status["preferences"]["judge"] <= 100 + 0.25 * PROMPTS  # the start, the share and audits
    assert status["preferences"]["predicted"] - status["unsure_labels"] == len(predicted)
    assert json.loads(more.stdout)["goal"] == "train"
    assert sum(json.loads(more.stdout)["pairs_so_far"].values()) == PROMPTS
    assert json.loads(exported.stdout)["predicted"] == len(predicted)
    assert f"{len(rows)} preferences, {len(predicted)} of them predicted" in note
    assert len(predicted) > 0.25 * PROMPTS
    wrong = sum(row["karma"]["chosen_model"] > row["karma"]["rejected_model"] for row in predicted)
    assert wrong <= 0.05 * len(predicted)
    explained = karma.call("explain", str(predicted[0]["karma"]["pair"])).stdout
    (goal,) = [line for line in explained.splitlines() if "The stream's goal was train, which chose " in line]
    assert f"label_at = {SETTINGS['train']['label_at']}" in goal
    assert "policy" not in goal
    assert "sure enough to label it" in explained
