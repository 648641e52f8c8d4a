"""`transformers`: a local causal model answers with a letter; the logits of the two letters give the probability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from karma.config.judge_templates import template_hash
from karma.messages import JudgeItem, JudgeSpec, Turn, Verdict
from karma_judging.template import render
from karma_judging.verdicts import LEAST_MASS, model_of, share_of_first, verdict


class TransformersJudge:
    """P(first is better) = P(A) / (P(A) + P(B)) for the token after the judge prompt."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        """One verdict per item.

        Raises:
            SettingsError: the specification names no model, an unknown template, or a model without the two labels.
        """
        from karma.llm.transformers import LocalModel

        model = model_of(spec)
        local, hashed = LocalModel.load(model), template_hash(spec, brief=True)
        chats = [(Turn("user", render(spec, item, brief=True)),) for item in items]
        verdicts = []
        labels = local.label_probability(chats, ("A", "B"), model.concurrency, model.batch_tokens)
        for item, label in zip(items, labels, strict=True):
            probability = None if label.failure else share_of_first(label.first, label.second)
            failure = label.failure
            if probability is None and failure is None:
                failure = f"unparsable verdict: A and B together have probability {label.first + label.second:.3f}, "
                failure += f"expected at least {LEAST_MASS}"
            verdicts.append(verdict(spec, item, probability=probability, failure=failure, template_hash=hashed))
        yield verdicts
