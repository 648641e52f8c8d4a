"""`transformers`: a local causal model, asked for a letter; the probability comes from the logits of the two labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from karma.messages import JudgeItem, JudgeSpec, Turn, Verdict
from karma_judging.judges.template import render, template_hash
from karma_judging.judges.verdicts import verdict


class TransformersJudge:
    """P(first is better) = P(A) / (P(A) + P(B)) for the token after the judge prompt."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        """One verdict an item."""
        from karma.llm.transformers import LocalModel

        if spec.model is None:
            yield [verdict(spec, item, failure=f"judge {spec.name} names no model") for item in items]
            return
        model = LocalModel.load(spec.model)
        hashed = template_hash(spec.template, brief=True)
        chats = [(Turn("user", render(spec.template, item, brief=True)),) for item in items]
        verdicts = []
        for item, (a, b) in zip(items, model.label_probability(chats, ("A", "B"), spec.model.concurrency), strict=True):
            if a + b > 0:
                verdicts.append(verdict(spec, item, probability=a / (a + b), template_hash=hashed))
            else:
                reason = f"the judge prompt is longer than the {model.context_tokens} tokens that the model takes"
                verdicts.append(verdict(spec, item, failure=reason, template_hash=hashed))
        yield verdicts
