"""Plans which judges of a stream see a pair; every draw is seeded by the pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from karma.config.judge_calls import calls_of_all, calls_per_pair
from karma.config.settings import StreamSettings
from karma.messages import JudgeSpec
from karma.ranking.judge_plan import JudgePlan, cascade_of
from karma.ranking.orders import OrderPlan
from karma.ranking.snapshot import Snapshot
from karma.seeds import SEEDS, seed_of
from karma_matching.orders import orders_of, plan_orders


@dataclass(frozen=True)
class Judging:
    """How one pair is judged."""

    orders: OrderPlan | None  # None: each judge in all of its orders
    judges: JudgePlan | None  # None: all judges of the stream
    judgements: Sequence[tuple[str, int]]  # (judge, order) of those that are opened when the pair is formed
    more_calls: int = 0  # than a pair of the stream takes at most, unless all judges see it


def judging_planner(
    stream: StreamSettings, judges: Sequence[JudgeSpec], snapshot: Snapshot
) -> Callable[[Sequence[str | int]], Judging]:
    """What plans the judges and orders of each pair of a stream, by the pair's name; arguments as of `plan_judges`."""
    drawn_orders = stream.orders != "both" and any(judge.both_orders for judge in judges)
    if drawn_orders or stream.judges_per_pair or stream.first_judge is not None:
        return partial(plan_judging, stream, judges, snapshot)
    all_at_once = plan_judging(stream, judges, snapshot, ())
    return lambda _pair: all_at_once


def plan_judging(
    stream: StreamSettings, judges: Sequence[JudgeSpec], snapshot: Snapshot, pair: Sequence[str | int]
) -> Judging:
    """The judges and orders of one pair; arguments as of `plan_judges`."""
    orders = plan_orders(stream, judges, snapshot, pair)
    plan = plan_judges(stream, judges, orders, snapshot, pair)
    asked = [judge for judge in judges if plan is None or judge.name in plan.at_once]
    opened = [(judge.name, shown) for judge in asked for shown in orders_of(judge, orders)]
    to_all = plan is not None and plan.why == "all"
    return Judging(orders, plan, opened, calls_of_all(judges, stream) - calls_per_pair(judges, stream) if to_all else 0)


def plan_judges(
    stream: StreamSettings,
    judges: Sequence[JudgeSpec],
    orders: OrderPlan | None,
    snapshot: Snapshot,
    pair: Sequence[str | int],
) -> JudgePlan | None:
    """The judges of one pair; None where all judges of the stream are asked at once.

    Args:
        stream: its settings.
        judges: of the stream.
        orders: of the pair.
        snapshot: says how often the larger judges disagreed with the first one.
        pair: the pair's name: its stream, prompt, and both responses; ids of responses depend on timing.
    """
    if stream.judges_per_pair:
        return _rotated(stream, judges, pair)
    if stream.first_judge is None:
        return None
    larger = [judge for judge in judges if judge.name != stream.first_judge]
    rule = snapshot.cascades.get(cascade_of(stream.first_judge, [judge.name for judge in larger]))
    audited = seed_of(*pair, "judge audit") < stream.judge_audit_share * SEEDS
    alone = rule is not None and not audited
    return JudgePlan(
        stream.first_judge,
        (stream.first_judge,) if alone else tuple(judge.name for judge in judges),
        "first" if alone else "unknown" if rule is None else "audit",
        later={judge.name: orders_of(judge, orders) for judge in larger} if alone else {},
        rule=rule,
        most_doubt=stream.most_judge_doubt,
        audit_share=stream.judge_audit_share,
        tie_margin=stream.tie_margin,
    )


def _rotated(stream: StreamSettings, judges: Sequence[JudgeSpec], pair: Sequence[str | int]) -> JudgePlan:
    """So many judges, each with the same chance; and on a share of the pairs all, so that they can be compared."""
    seen_by_all = seed_of(*pair, "all judges") < stream.all_judges_share * SEEDS
    number = len(judges) if seen_by_all else stream.judges_per_pair
    drawn = set(sorted((judge.name for judge in judges), key=lambda name: seed_of(*pair, "judge", name))[:number])
    asked = tuple(judge.name for judge in judges if judge.name in drawn)
    return JudgePlan(None, asked, "all" if seen_by_all else "drawn", audit_share=stream.all_judges_share)
