"""Plans in which order each judge sees a pair; every draw is seeded by the pair."""

from __future__ import annotations

from collections.abc import Sequence

from karma.config.settings import StreamSettings
from karma.messages import JudgeSpec
from karma.ranking.orders import OrderPlan
from karma.ranking.snapshot import Snapshot
from karma.seeds import SEEDS, seed_of


def plan_orders(
    stream: StreamSettings, judges: Sequence[JudgeSpec], snapshot: Snapshot, pair: Sequence[str | int]
) -> OrderPlan | None:
    """The orders of one pair; None where every judge is asked all of its orders.

    Args:
        stream: its settings.
        judges: of the stream.
        snapshot: says of each judge how often its second order changed the label.
        pair: the pair's name: its stream, prompt, and both responses; ids of responses depend on timing.
    """
    names = [judge.name for judge in judges if judge.both_orders]
    if stream.orders == "both" or not names:
        return None
    first = {name: seed_of(*pair, "order", name) & 1 for name in names}
    if stream.orders == "one":
        return OrderPlan("one", first)
    return OrderPlan(
        "adaptive",
        first,
        rules={name: snapshot.second_orders[name] for name in names if name in snapshot.second_orders},
        most_doubt=stream.most_order_doubt,
        audited=seed_of(*pair, "order audit") < stream.order_audit_share * SEEDS,
        audit_share=stream.order_audit_share,
        tie_margin=stream.tie_margin,
    )


def orders_of(judge: JudgeSpec, plan: OrderPlan | None) -> tuple[int, ...]:
    """The orders in which a judge is asked about a pair as soon as it is formed."""
    if not judge.both_orders:
        return (0,)
    return (0, 1) if plan is None else plan.at_once(judge.name)
