"""`reward`: a local reward model (a sequence classifier) scores each response to the prompt by one logit.

It sees one response at a time, so there is neither a position nor a template that a response could attack. Every
distinct response of a message is scored once, however many pairs it is in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from karma.errors import SettingsError
from karma.messages import JudgeItem, JudgeSpec, Verdict
from karma_judging.verdicts import model_of, sigmoid, verdict


class RewardJudge:
    """P(first is better) = sigmoid((s_first − s_second) / scale), s the raw logits: Bradley–Terry, as it was trained.

    Christiano et al. 2017 (arXiv 1706.03741), equation 1. A logit never passes through another sigmoid before.
    """

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        """One verdict per item; its rationale says both scores.

        Raises:
            SettingsError: the specification has no model or an invalid scale, or its model is no classifier or has
                several labels of which `options.label` names none.
        """
        from karma.llm.reward import RewardModel

        if not spec.scale > 0:
            raise SettingsError(f"judge {spec.name} has scale {spec.scale}; expected a scale above 0")
        model = model_of(spec)
        local = RewardModel.load(model)
        try:
            label = local.label_index(spec.options.get("label"))
        except SettingsError as cause:
            raise SettingsError(f"judge {spec.name}: {cause}") from cause
        shown = [(item.messages, response) for item in items for response in (item.first, item.second)]
        distinct = list(dict.fromkeys(shown))
        chats, responses = [chat for chat, _response in distinct], [response for _chat, response in distinct]
        scores = local.scores(chats, responses, label, model.concurrency, model.batch_tokens)
        known = dict(zip(distinct, scores, strict=True))
        verdicts = []
        for number, item in enumerate(items):
            first, second = known[shown[2 * number]], known[shown[2 * number + 1]]
            failure = first.failure or second.failure
            is_scored = failure is None
            verdicts.append(
                verdict(
                    spec,
                    item,
                    probability=sigmoid((first.logit - second.logit) / spec.scale) if is_scored else None,
                    failure=failure,
                    rationale=f"score {first.logit:.4g} against {second.logit:.4g}" if is_scored else None,
                    tokens_in=first.tokens + second.tokens,
                )
            )
        yield verdicts
