"""What the files of a reward model tell, without loading it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from karma.messages import JudgeSpec, ModelSpec
from karma_cli.commands.doctor.checkpoints import checkpoint_findings

WHOLE = {"architectures": ["LlamaForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
GRADES = {**WHOLE, "id2label": {"0": "bad", "1": "good"}}


@pytest.mark.parametrize(
    ("config", "options", "code", "read"),
    [
        (WHOLE, {}, None, ""),
        (GRADES, {"label": "good"}, None, ""),
        ({"architectures": ["LlamaForCausalLM"]}, {}, "not-a-reward-model", "holds a LlamaForCausalLM"),
        ({}, {}, "not-a-reward-model", "holds a model of no known kind"),
        (GRADES, {}, "several-labels", "has 2 labels: bad, good"),
        ({"architectures": WHOLE["architectures"]}, {}, "several-labels", "has 2 labels"),
        (GRADES, {"label": "best"}, "several-labels", "options.label is 'best', the labels are bad, good"),
        ([], {}, None, ""),
    ],
)
def test_a_judge_of_kind_reward_needs_a_classifier_with_one_label(
    tmp_path: Path, config: Any, options: dict[str, Any], code: str | None, read: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in ("model.safetensors", "tokenizer.json", "chat_template.jinja"):
        (tmp_path / name).touch()
    model = ModelSpec(name="r", backend="transformers", model=str(tmp_path))

    found = checkpoint_findings(JudgeSpec(name="r", kind="reward", model=model, options=options))

    assert [one.code for one in found] == ([] if code is None else [code])
    assert all(read in one.read for one in found)
    assert checkpoint_findings(JudgeSpec(name="l", kind="likelihood", model=model)) == []
