"""Judge budgets in a refit: the outcome model and the audited label error of the snapshot."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from karma.ranking.label_error import Audited, LabelError, label_error
from karma.ranking.label_error_change import since_change
from karma.ranking.label_limit import LabelLimit
from karma.ranking.label_model import LabelModel
from karma.ranking.outcome_model import FEATURES, OutcomeModel
from karma.ranking.snapshot import Snapshot
from karma.ranking.tail import TailBin, label_tail
from karma.store import Transaction
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.records import Example
from karma_scoring.fit.predictions.label_fit import fit_labels, label_examples_of
from karma_scoring.fit.predictions.label_limits import CALIBRATING, calibrating_of, present_limit
from karma_scoring.fit.predictions.outcome_fit import Examples, fit_outcome
from karma_scoring.fit.time_buckets import bucket_at

#: Most judged pairs that the outcome model is fitted to, and most audited pairs behind the label error: the newest.
EXAMPLES = 20_000
AUDITED = 20_000

#: The outcome model is fitted again after this share of new verdicts.
_GROWTH = 0.05


@dataclass(frozen=True)
class BudgetInputs:
    """The data on judge budgets that a refit reads."""

    known: OutcomeModel | None  # of the last snapshot
    examples: list[Example] | None  # None where the known model is to be kept
    audits: dict[str, LabelError]  # by stream; only those that left pairs unjudged
    label_tails: dict[str, tuple[TailBin, ...]] = field(default_factory=dict)  # by stream
    label_limits: dict[str, LabelLimit] = field(default_factory=dict)  # by stream with a `max_label_error`
    known_labels: LabelModel | None = None  # of the last snapshot

    def outcome(self, competencies: Snapshot, changed: Mapping[str, int]) -> OutcomeModel | None:
        """The outcome model under new competencies; None while too few pairs under a judge budget were judged.

        Args:
            competencies: of the refit.
            changed: model → time bucket of its last change.
        """
        if self.examples is None:
            return self.known
        return fit_outcome(examples_of(self.examples, competencies, changed)) or without_offsets(self.known, changed)

    def labels(self, competencies: Snapshot, changed: Mapping[str, int]) -> LabelModel | None:
        """The label model under new competencies; None while too few pairs under a judge budget were judged."""
        if self.examples is None:
            return self.known_labels
        return fit_labels(label_examples_of(self.examples, competencies, changed)) or self.known_labels


class BudgetInputReader:
    """Reads the inputs of a refit; no examples while the outcome model would hardly change."""

    def __init__(
        self,
        aliases: Mapping[str, str] = MappingProxyType({}),
        max_label_error: Callable[[str], float | None] = lambda _stream: None,
    ) -> None:
        """A reader.

        Args:
            aliases: earlier name of a model → present name.
            max_label_error: of a stream.
        """
        self._aliases = aliases
        self._max_label_error = max_label_error
        self._competencies = LatestSnapshot()
        self._fitted_at = 0.0  # weight of the verdicts at the last fit

    def read(self, transaction: Transaction, weight: float, changed: bool = False) -> BudgetInputs:
        """The inputs of a refit.

        Args:
            transaction: reads.
            weight: of all counted verdicts.
            changed: a model changed, so the outcome model does.
        """
        newest = self._competencies.newest(transaction)
        unjudged = transaction.judge_budgets.unjudged()
        examples = None
        if unjudged and (changed or weight >= self._fitted_at * (1 + _GROWTH)):
            self._fitted_at = weight
            examples = [self._renamed(row) for row in transaction.judge_budgets.examples(EXAMPLES)]
        audits, tails = _audits(transaction, unjudged)
        return BudgetInputs(newest.outcome, examples, audits, tails, self._limits(transaction, unjudged), newest.labels)

    def _limits(self, transaction: Transaction, streams: Iterable[str]) -> dict[str, LabelLimit]:
        limits = {stream: self._max_label_error(stream) for stream in streams}
        return {
            stream: present_limit(calibrating_of(transaction.judge_budgets.calibrating(stream, CALIBRATING)), limit)
            for stream, limit in limits.items()
            if limit is not None
        }

    def _renamed(self, row: Example) -> Example:
        a, b = (self._aliases.get(name, name) for name in (row.model_a, row.model_b))
        return row._replace(model_a=a, model_b=b)


def examples_of(rows: Sequence[Example], competencies: Snapshot, changed: Mapping[str, int]) -> Examples:
    """Stored pairs as arrays, oldest first.

    Pairs whose features are of another version are left out, and so are pairs judged before one of their models
    changed: the competencies are those of the present model, and would not explain these verdicts.

    Args:
        rows: newest first.
        competencies: the gaps are by these.
        changed: model → time bucket of its last change.
    """
    present = [
        row
        for row in reversed(rows)
        if bucket_at(row.resolved_at) >= max(changed.get(row.model_a, 0), changed.get(row.model_b, 0))
    ]
    read = [(row, json.loads(row.reasons).get("contrast", ())) for row in present]
    kept = [(row, features) for row, features in read if len(features) == len(FEATURES)]
    gaps = [competencies.between(row.model_a, row.model_b, row.skill).gap for row, _ in kept]
    won = [0.0 if row.outcome != "decisive" else 1.0 if row.chosen == row.response_a else -1.0 for row, _ in kept]
    return Examples(
        gap=np.array(gaps, dtype=np.float64),
        relative_features=np.array([features for _, features in kept], dtype=np.float64).reshape(-1, len(FEATURES)),
        models_a=np.array([row.model_a for row, _ in kept], dtype=np.str_),
        models_b=np.array([row.model_b for row, _ in kept], dtype=np.str_),
        outcome=np.array(won, dtype=np.float64),
        prompt=np.array([row.prompt for row, _ in kept], dtype=np.intp),
        response_a=np.array([row.response_a for row, _ in kept], dtype=np.intp),
        response_b=np.array([row.response_b for row, _ in kept], dtype=np.intp),
    )


def without_offsets(model: OutcomeModel | None, changed: Collection[str]) -> OutcomeModel | None:
    """The outcome model without what it learned of models that changed."""
    if model is None or model.offsets.keys().isdisjoint(changed):
        return model
    return replace(model, offsets={name: value for name, value in model.offsets.items() if name not in changed})


def _audits(
    transaction: Transaction, unjudged: Mapping[str, int]
) -> tuple[dict[str, LabelError], dict[str, tuple[TailBin, ...]]]:
    errors, tails = {}, {}
    for stream, labels in unjudged.items():
        present, estimated = present_audits(
            [Audited(*row) for row in transaction.judge_budgets.audited(stream, AUDITED)], labels
        )
        error = label_error(present, estimated)
        if error is not None:
            errors[stream], tails[stream] = error, label_tail(present, estimated)
    return errors, tails


def present_audits(audited: Sequence[Audited], unjudged: int) -> tuple[Sequence[Audited], int]:
    """The audited pairs since the label error last changed, and their share of the unjudged labels.

    Args:
        audited: newest first.
        unjudged: labels of the stream.
    """
    present = since_change(audited[::-1])
    return present, round(unjudged * len(present) / max(1, len(audited)))


def present_error(audited: Sequence[Audited], unjudged: int) -> LabelError | None:
    """The label error since it last changed, of that share of the unjudged labels; None without an audited pair."""
    return label_error(*present_audits(audited, unjudged))
