"""How a batch's verdicts lean: to a place, a length, a judge's own model, the label, the competencies.

What the competencies say is the yardstick: a longer response may win more often because better models write more. So
beside each number of wins stands the sum of the chances that competency alone gave them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from karma.config.pool import Pool
from karma.ranking.snapshot import Snapshot
from karma.store.recorded import Recorded
from karma.store.records import NewVerdict, PairRow
from karma.telemetry import metrics
from karma.telemetry.bounded_metrics import MetricBatch
from karma_scoring.handlers import Resolved
from karma_scoring.resolution import Side, side


@dataclass(frozen=True)
class Habit:
    """What is known of a judge beforehand: whether it sees both orders, and the models of the pool that are its own."""

    both_orders: bool = False
    own: frozenset[str] = frozenset()


_UNKNOWN = Habit()


def habits(pool: Pool) -> dict[str, Habit]:
    """The judges of a pool. A model is a judge's own where both ask the same of the same endpoint or checkpoint."""
    found = {}
    for name, judge in pool.judges.items():
        own: frozenset[str] = frozenset()
        if judge.model is not None:
            asked = (judge.model.backend, judge.model.base_url, judge.model.model)
            own = frozenset(key for key, one in pool.models.items() if (one.backend, one.base_url, one.model) == asked)
        found[name] = Habit(judge.both_orders, own)
    return found


class Leaning:
    """Collects over a batch; what is alike is counted together."""

    def __init__(
        self, stream: str, recorded: Recorded, snapshot: Snapshot, judges: Mapping[str, Habit], tie_margin: float
    ) -> None:
        self._stream = stream
        self._recorded = recorded
        self._snapshot = snapshot
        self._judges = judges
        self._tie_margin = tie_margin
        self._chances: dict[int, float] = {}  # pair → P(a wins | decisive), by competency
        self._places: Counter[tuple[str, str]] = Counter()
        self._lengths: Counter[tuple[str, str]] = Counter()
        self._owners: Counter[tuple[str, str]] = Counter()
        self._longer_expected: defaultdict[str, float] = defaultdict(float)
        self._own_expected: defaultdict[str, float] = defaultdict(float)
        self._preferences: Counter[tuple[str, str, str, str | None]] = Counter()  # length, winner, loser, foreseen
        self._expected = self._variance = 0.0
        self._probabilities: list[float] = []
        self._ratios: list[float] = []

    def add_verdict(self, verdict: NewVerdict) -> None:
        """A recorded verdict."""
        pair = self._recorded.pairs.get(verdict.pair)
        if verdict.probability is None or pair is None:
            return
        shown = side(verdict.probability, self._tie_margin)
        if shown == "none":
            return
        name, judge = verdict.judge, self._judges.get(verdict.judge, _UNKNOWN)
        a_is_chosen = (shown == "a") == (verdict.shown == 0)
        if judge.both_orders:
            self._places[name, "first" if shown == "a" else "second"] += 1
        if pair.length_a != pair.length_b:
            a_is_longer = pair.length_a > pair.length_b
            self._lengths[name, "longer" if a_is_chosen == a_is_longer else "shorter"] += 1
            self._longer_expected[name] += self._chance(pair, a_is_longer)
        if judge.own and (pair.model_a in judge.own) != (pair.model_b in judge.own):
            a_is_own = pair.model_a in judge.own
            self._owners[name, "own" if a_is_chosen == a_is_own else "other"] += 1
            self._own_expected[name] += self._chance(pair, a_is_own)

    def add_preference(self, one: Resolved, probability: float) -> None:
        """A decisive pair, with the probability that its response a is better."""
        pair, a_is_chosen = one.pair, one.resolution.a_is_chosen
        if a_is_chosen:
            chosen, rejected, winner, loser = pair.length_a, pair.length_b, pair.model_a, pair.model_b
        else:
            chosen, rejected, winner, loser = pair.length_b, pair.length_a, pair.model_b, pair.model_a
        length = "longer" if chosen > rejected else "shorter" if chosen < rejected else "equal"
        foreseen = _yes((pair.gap > 0) == a_is_chosen) if pair.gap else None
        self._preferences[length, winner, loser, foreseen] += 1
        self._probabilities.append(max(probability, 1.0 - probability))
        self._ratios.append(chosen / max(1, rejected))
        if chosen != rejected:
            expected = self._chance(pair, pair.length_a > pair.length_b)
            self._expected += expected
            self._variance += expected * (1.0 - expected)

    def add_agreement(self, one: Resolved, batch_metrics: MetricBatch) -> None:
        """Each judge of a pair against its own other order, against the label, and against the others."""
        opinions = self._recorded.opinions.get(one.pair.id, ())
        if len(opinions) < 2:
            return
        by_judge: dict[str, dict[int, float]] = {}
        for opinion in opinions:
            if opinion.probability is not None:
                better_a = opinion.probability if opinion.shown == 0 else 1.0 - opinion.probability
                by_judge.setdefault(opinion.judge, {})[opinion.shown] = better_a
        taken: dict[str, Side] = {}
        for judge, orders in by_judge.items():
            if len(orders) == 2:
                sides = {side(better_a, self._tie_margin) for better_a in orders.values()}
                batch_metrics.add(metrics.JUDGE_ORDERS, judge, _yes(sides == {"a", "b"}))
            its = side(sum(orders.values()) / len(orders), self._tie_margin)
            if its != "none":
                taken[judge] = its
        if len(taken) < 2:
            return
        batch_metrics.add(metrics.PAIRS_BY_AGREEMENT, self._stream, _yes(len(set(taken.values())) == 1))
        if one.resolution.outcome == "decisive":
            label = "a" if one.resolution.a_is_chosen else "b"
            for judge, its in taken.items():
                batch_metrics.add(metrics.JUDGE_AGREEMENT, judge, _yes(its == label))

    def show(self, batch_metrics: MetricBatch) -> None:
        """Hand over what was collected."""
        for counter, counts in (
            (metrics.FIRST_POSITION, self._places),
            (metrics.JUDGE_LENGTH, self._lengths),
            (metrics.SELF_PREFERENCE, self._owners),
        ):
            for labels, count in counts.items():
                batch_metrics.add(counter, *labels, count=count)
        for counter, sums in (
            (metrics.JUDGE_LONGER_EXPECTED, self._longer_expected),
            (metrics.SELF_EXPECTED, self._own_expected),
        ):
            for judge, expected in sums.items():
                batch_metrics.add(counter, judge, count=expected)
        for (length, winner, loser, foreseen), count in self._preferences.items():
            batch_metrics.add(metrics.LONGER_CHOSEN, self._stream, length, count=count)
            if winner != loser:
                batch_metrics.add(metrics.WINS, winner, loser, count=count)
            if foreseen is not None:
                batch_metrics.add(metrics.PRIOR_AGREEMENT, self._stream, foreseen, count=count)
        if self._preferences:
            batch_metrics.add(metrics.LONGER_EXPECTED, self._stream, count=self._expected)
            batch_metrics.add(metrics.LONGER_VARIANCE, self._stream, count=self._variance)
            batch_metrics.observe(metrics.PREFERENCE_PROBABILITY, self._probabilities, self._stream)
            batch_metrics.observe(metrics.LENGTH_RATIO, self._ratios, self._stream)

    def _chance(self, pair: PairRow, of_a: bool) -> float:
        """The chance of a, or of b, by competency alone."""
        chance = self._chances.get(pair.id)
        if chance is None:
            skill = self._recorded.prompts[pair.prompt].skill
            chance = self._snapshot.between(pair.model_a, pair.model_b, skill).win_probability
            self._chances[pair.id] = chance
        return chance if of_a else 1.0 - chance


def _yes(true: bool) -> str:
    return "yes" if true else "no"
