"""`likelihood`: a local causal model scores each response by its likelihood given the prompt.

It needs no training and has no position bias. It prefers its own model's responses, so this model should not be one of
the judged models. With `options = {normalise = "sum"}` it prefers short responses; the default is the mean per token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from karma.errors import SettingsError
from karma.llm.generation import Likelihood
from karma.messages import JudgeItem, JudgeSpec, Verdict
from karma_judging.verdicts import model_of, sigmoid, verdict


class LikelihoodJudge:
    """P(first is better) = sigmoid((l_first − l_second) / scale), l in nats per token, or total nats."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        """One verdict per item.

        Raises:
            SettingsError: the specification has no model, or an invalid scale or normalization.
        """
        from karma.llm.transformers import LocalModel

        normalise = spec.options.get("normalise", "mean")
        if normalise not in ("mean", "sum") or spec.scale <= 0:
            raise SettingsError(
                f"judge {spec.name} has scale {spec.scale} and options.normalise {normalise!r}; "
                "expected a scale above 0 and mean or sum"
            )
        model = model_of(spec)
        chats = [item.messages for item in items for _response in range(2)]
        responses = [response for item in items for response in (item.first, item.second)]
        likelihoods = LocalModel.load(model).log_likelihood(chats, responses, model.concurrency, model.batch_tokens)

        def score(likelihood: Likelihood) -> float:
            return likelihood.nats / likelihood.tokens if normalise == "mean" else likelihood.nats

        verdicts = []
        for item, first, second in zip(items, likelihoods[::2], likelihoods[1::2], strict=True):
            failure = first.failure or second.failure
            probability = None
            if failure is None:
                # The same text in two forward batches differs by rounding, which a small scale would turn into a side.
                logit = 0.0 if item.first == item.second else (score(first) - score(second)) / spec.scale
                probability = sigmoid(logit)
            verdicts.append(
                verdict(spec, item, probability=probability, failure=failure, tokens_in=first.tokens + second.tokens)
            )
        yield verdicts
