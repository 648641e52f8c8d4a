"""A store whose newest refit has something unknown, unreliable or contradictory of every kind, and 50 models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sqlalchemy import func, select, update

from karma.config.pool import Pool
from karma.ranking.common_change import CommonChange
from karma.ranking.label_error import LabelError
from karma.ranking.label_limit import LabelLimit
from karma.ranking.misfit import MisfitPair, PairFit
from karma.ranking.self_preference import SelfPreference
from karma.ranking.snapshot import KIN_COMPARISONS, Snapshot
from karma.ranking.snapshot_archive import to_bytes
from karma.ranking.tail import TailBin
from karma.store import Store
from karma.store.schema import pairs
from tests.support.memory import Flow, make_pool

LIMITED, SPARED = "default", "spared"
#: Models of the first group; no verdict connects them to the others.
FIRST_GROUP = 30
LONG = tuple(f"organization-with-a-long-name/model-{number:02}-instruct-q4_k_m-2026-11" for number in range(46))
#: Best first, at equal gaps; `a` and `b` win against `c` with a probability between .9 and .95.
MODELS = ("a", "b", *LONG[:18], "c", *LONG[18:], "<b>bold</b>\x1b[31m")
MISFIT = (MODELS[4], MODELS[-1])
WHY_UNKNOWN = "no other judge or reference compares its own models with the others"

#: Of each state one; the highest bin has no verdict.
TAIL = (
    TailBin(0.8, 0.9, 0.142, 0.139, 0.131, 0.148, 5210.0),
    TailBin(0.9, 0.95, 0.071, 0.112, 0.098, 0.127, 1804.0),
    TailBin(0.95, 0.98, 0.034, 0.047, 0.021, 0.101, 122.0),
    TailBin(0.98, 0.99, 0.015, 0.0, 0.0, 0.278, 9.0),
)


def uncertain_pool() -> Pool:
    """A pool with a judge budget, a limit on wrong labels and one on calls per hour."""
    stream = {"judge_share": 0.5, "max_label_error": 0.05, "judge_calls_per_hour": 400.0}
    return make_pool(
        "abc", streams={LIMITED: stream, SPARED: {"judge_share": 0.5, "max_label_error": 0.05, "canary_share": 0.5}}
    )


def fill(store: Store, prompts: int = 40) -> None:
    """Put two streams of answered and judged prompts, and the refit, into an empty store."""
    flow = Flow(store, uncertain_pool())
    flow.snapshot = refit()
    for stream in (LIMITED, SPARED):
        flow.accept(
            *({"prompt": f"{stream} {n}.", "id": f"{stream}{n}"} for n in range(prompts)),
            stream=stream,
        )
    flow.finish()
    with store.transaction() as transaction:
        connection = transaction.ledger.connection
        number = connection.execute(select(func.count()).select_from(pairs)).scalar_one()
        connection.execute(update(pairs).values(judged_probability=0.5))
        assert number >= 2 * prompts
        transaction.preferences.add_snapshot(1, float(number), to_bytes(flow.snapshot))


def refit() -> Snapshot:
    """Two groups of models, a misfit pair, common changes, and predictions of every state."""
    number = len(MODELS)
    comparisons = np.zeros((2, number + 1, number + 1))
    comparisons[:, :FIRST_GROUP, :FIRST_GROUP] = comparisons[:, FIRST_GROUP:-1, FIRST_GROUP:-1] = 2 * KIN_COMPARISONS
    comparisons[:, 6:12, 12:18] = comparisons[:, 12:18, 6:12] = 3.0
    comparisons *= 1.0 - np.eye(number + 1)
    mean = np.append(np.linspace(3.0, -3.0, number), 0.0)
    gap = mean[:, None] - mean[None, :]
    win = 1.0 / (1.0 + np.exp(-gap))
    win[0, 1], win[2, 3] = 0.92, 0.97
    kinship = np.where(comparisons[0] >= KIN_COMPARISONS, np.exp(-(gap**2)), np.nan)
    np.fill_diagonal(kinship, 1.0)
    misfit = tuple(MODELS.index(name) for name in MISFIT)
    kinship[misfit] = kinship[misfit[::-1]] = np.nan
    cold = Snapshot.empty(MODELS, ("math",))
    return replace(
        cold,
        version=1,
        mean=np.tile(mean, (2, 1)),
        deviation=np.full((2, number + 1), 0.4),
        win=np.tile(win, (2, 1, 1)),
        kinship=np.tile(kinship, (2, 1, 1)),
        comparisons=comparisons,
        audits={SPARED: LabelError(0.031, 0.022, 0.043, 900, 40_000)},
        label_limits={
            LIMITED: LabelLimit(0.05, None, 0.0, 0.021, 0.081, 180, 420),
            SPARED: LabelLimit(0.05, 0.4, 0.55, 0.031, 0.047, 4100, 0),
        },
        label_tails={SPARED: TAIL},
        win_tail=TAIL,
        self_preference={"j": SelfPreference(12, None, None, WHY_UNKNOWN)},
        pair_fit=PairFit((MisfitPair(*MISFIT, 0.21, 0.93, -8.4, -3.9),), 1e-9),
        common_changes=(CommonChange(1.79e9, "scale", 41.2), CommonChange(1.795e9, "mixture", 12.7)),
    )
