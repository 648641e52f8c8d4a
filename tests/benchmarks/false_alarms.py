"""How often the alerts on quality are wrong under an honest judge, and how soon they are right under another.

`python -m tests.benchmarks.false_alarms [--streams N] [--json OUT]` prints

- of KarmaLongerWinsRising, by simulation of its rule: false alarms in a million preferences, and the preferences until
  the alarm (median and 95th percentile) after the longer response's share rose;
- of the alerts that hold a share against a limit: the greatest chance, from the fewest pairs that count to 5,000, that
  one look is wrong;
- of KarmaOutcomeModelMiscalibrated: the error that chance alone gives a model that is exactly calibrated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from karma_scoring.fit.predictions.outcome_fit import LEAST_EXAMPLES, calibration_error

Array = NDArray[np.float64]

# As in deploy/prometheus/rules/quality.yml, which tests/integration/test_alerts.py holds them against.
ALLOWANCE, THRESHOLD, MEMORY, WARM_UP = 0.1, 20.0, 2000.0, 300.0
MOST = 40.0
DEVIATIONS = 4.0
CALIBRATION_LIMIT = 0.15

_BATCH = 5  # preferences between two evaluations
_AFTER = 1000  # preferences that are waited for an alarm


@dataclass
class Sums:
    """The rule's state in many streams at once."""

    cusum: Array
    usual: Array
    excess: Array  # remembered
    pairs: Array  # remembered

    @classmethod
    def new(cls, streams: int) -> Sums:
        return cls(*(np.zeros(streams) for _ in range(4)))

    def take(self, longer: Array, expected: float, pairs: int) -> None:
        """One evaluation: so many more preferences, of which so many are for the longer response."""
        new = longer - expected * pairs
        past = np.maximum(0.0, self.excess / np.maximum(self.pairs, 1e-9))
        self.usual = np.where((self.cusum > 0.0) & (self.cusum <= THRESHOLD), self.usual, past)
        moved = np.clip(self.cusum + new - pairs * (ALLOWANCE + self.usual), 0.0, MOST)
        self.cusum = np.where(self.pairs >= WARM_UP, moved, 0.0)
        decay = np.exp(-pairs / MEMORY)
        self.excess = self.excess * decay + new
        self.pairs = self.pairs * decay + pairs


def false_alarms(share: float, streams: int, preferences: int, draw: np.random.Generator) -> float:
    """Alarms a million preferences where longer wins a constant share and competency expects a half."""
    sums = Sums.new(streams)
    alarms = 0
    for _ in range(preferences // _BATCH):
        sums.take(draw.binomial(_BATCH, share, streams).astype(float), 0.5, _BATCH)
        late = sums.cusum > THRESHOLD
        alarms += int(late.sum())
        sums.cusum[late] = 0.0
    return alarms / (streams * preferences) * 1e6


def delays(before: float, after: float, past: int, streams: int, draw: np.random.Generator) -> Array:
    """Preferences from the change, after `past` of them, to the alarm; infinite where none came within a thousand."""
    sums = Sums.new(streams)
    found = np.full(streams, np.inf)
    for step in range((past + _AFTER) // _BATCH):
        share = before if step * _BATCH < past else after
        sums.take(draw.binomial(_BATCH, share, streams).astype(float), 0.5, _BATCH)
        if step * _BATCH >= past:
            fresh = (sums.cusum > THRESHOLD) & np.isinf(found)
            found[fresh] = (step + 1) * _BATCH - past
    return found


def wrong_look(limit: float, honest: float, least: int) -> float:
    """The greatest chance over `least` to 5,000 pairs that k − p n > 4 √(p (1 − p) n) where the share is `honest`."""
    pairs = np.arange(least, 5001)
    bound = limit * pairs + DEVIATIONS * np.sqrt(limit * (1 - limit) * pairs)
    return float(binom.sf(np.floor(bound), pairs, honest).max())


def errors_by_chance(examples: int, draw: np.random.Generator, rounds: int = 2000) -> Array:
    """Expected calibration errors of exact probabilities, uniform in [0, 1]."""
    probability = draw.random((rounds, examples))
    return np.array([calibration_error(one, draw.random(examples) < one) for one in probability])


def figures(streams: int) -> Iterator[dict[str, Any]]:
    """One line a figure."""
    draw = np.random.default_rng(5)
    for share in (0.5, 0.65):
        found = false_alarms(share, streams, 20_000, draw)
        yield {"what": f"length: false alarms a million, longer wins {share:.0%}", "value": found}
    # Hoeffding's lemma: with θ = 8k, exp(θ S) is a supermartingale, so the mean run is at least exp(8 k h) preferences.
    yield {
        "what": "length: preferences to a false alarm, at least (known past)",
        "value": np.exp(8 * ALLOWANCE * THRESHOLD),
    }
    for past in (400, 3000):
        for before, after in ((0.5, 1.0), (0.65, 1.0), (0.5, 0.8), (0.5, 0.75), (0.5, 0.7), (0.5, 0.65), (0.5, 0.6)):
            found = delays(before, after, past, max(200, streams // 4), draw)
            middle, late = np.quantile(found, [0.5, 0.95], method="higher")
            what = f"length: preferences to the alarm, {before:.0%} → {after:.0%} after {past}"
            yield {"what": what, "value": middle, "95%": late}
    for name, limit, honest, least in (
        ("order flips", 0.25, 0.2, 50),
        ("order flips", 0.25, 0.25, 50),
        ("first position", 0.6, 0.5, 100),
        ("ties", 0.5, 0.35, 50),
        ("ties", 0.5, 0.5, 50),
        ("failed calls", 0.1, 0.05, 20),
    ):
        yield {
            "what": f"{name}: a wrong look, limit {limit:.0%}, share {honest:.0%}",
            "value": wrong_look(limit, honest, least),
        }
    for examples in (LEAST_EXAMPLES, 1000):
        found = errors_by_chance(examples, draw)
        yield {
            "what": f"calibration error by chance, {examples} examples",
            "value": float(found.mean()),
            "above the limit": float((found > CALIBRATION_LIMIT).mean()),
            "deviations to the limit": float((CALIBRATION_LIMIT - found.mean()) / found.std()),
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.false_alarms",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--streams", type=int, default=4000, help="simulated, of 20,000 preferences each")
    parser.add_argument("--json", type=Path, metavar="OUT")
    arguments = parser.parse_args()
    found = []
    for one in figures(arguments.streams):
        found.append(one)
        more = "".join(f"  {name} {value:.3g}" for name, value in one.items() if name not in ("what", "value"))
        print(f"{one['what']:<62} {one['value']:.3g}{more}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
