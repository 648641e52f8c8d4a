"""A judge starts to prefer the longer answer in mid-stream: which alerts fire, and after how many verdicts?

`python -m tests.acceptance.drift_drill [--rate R] [--change-at N] [--verdicts N] [--preference P] [--json OUT]`

A real `karma up`, a judge behind a real endpoint, and a real Prometheus with the shipped rules. The judge goes by a
quality that has nothing to do with length; from verdict `--change-at` on it prefers the longer of two answers, in a
share `--preference` of the pairs. Prompts come at a steady rate, one pair each, judged in both orders. The drill passes
where the alert on length fires within `--verdicts` of the change, no alert fires before it, and no other one does.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import prometheus
from tests.support.endpoint import _FENCE, Behaviour, _share, pool, serve
from tests.support.feed import Feed
from tests.support.pipeline import Pipeline, wait_until

ALERT = "KarmaLongerWinsRising"
#: The judge's verdicts on what was asked before it changed come in at the same time as those after it.
_EVERY_S = 0.5
_WORDS = ["clearly", "briefly", "perhaps", "indeed", "namely", "moreover", "finally", "again", "thus", "hence"]

LIMITS = "[pipeline]\nbatch_items = 4\n"


@dataclass
class Drifting:
    """Answers of all lengths with a quality of their own, and a judge that changes."""

    change_at: int  # verdicts that go by quality
    preference: float  # share of the pairs that then go by length
    verdicts: int = 0  # given so far

    def answer(self, model: str, asked: str) -> str:
        """A text whose length says nothing about its quality; red's are better on the whole."""
        draw = _share(model, asked)
        more = " ".join(_WORDS[int(_share(str(n), model, asked) * len(_WORDS))] for n in range(int(40 * draw)))
        return f"The answer of {model} is {_share(asked, model):.6f}. {more}".strip()

    def verdict(self, asked: str) -> str:
        """The last line of a judge's answer."""
        self.verdicts += 1
        found = _FENCE.search(asked)
        if found is None:
            raise ValueError("a judge was asked without a pair")
        first, second = found[2].strip(), found[3].strip()
        by_length = self.verdicts > self.change_at and _share("bias", *sorted((first, second))) < self.preference
        worth = len if by_length and len(first) != len(second) else _quality
        return f"One is better.\nVerdict: {'A' if worth(first) > worth(second) else 'B'}"


def _quality(text: str) -> float:
    return _share("quality", text) + (0.1 if text.startswith("The answer of red") else 0.0)


def run(rate: float, change_at: int, within: int, preference: float, folder: Path) -> dict[str, Any]:
    """The drill's figures; `rate` is prompts a second, the others are verdicts."""
    judge = Drifting(change_at, preference)
    with serve(Behaviour()) as endpoint:
        plain = endpoint.answer

        def answer(body: dict[str, Any]) -> dict[str, Any]:
            found = plain(body)
            asked = body["messages"][-1]["content"]
            judging = body["model"].startswith("judge")
            text = judge.verdict(asked) if judging else judge.answer(body["model"], asked)
            found["choices"][0]["message"]["content"] = text
            return found

        endpoint.answer = answer  # type: ignore[method-assign]
        karma = Pipeline(folder / "home", LIMITS + pool(endpoint.url, judge="drifting"))
        karma.environment["KARMA_PAGE_PORT"] = "0"
        rules = sorted(prometheus.RULES.glob("*.yml"))
        targets = karma.home / "run" / "targets.json"
        with karma.up(), prometheus.serve(folder / "prometheus", targets, rules, every_s=_EVERY_S) as server:
            server.wait_for_scrapes()
            fired: dict[str, int] = {}

            def look() -> int:
                seen = judge.verdicts
                for alert in server.alerts():
                    fired.setdefault(alert["labels"]["alertname"], seen)
                return seen

            with Feed(f"sqlite:///{karma.home / 'karma.db'}", rate):
                longest_s = (change_at + within) / (2 * rate) * 2 + 60
                wait_until(lambda: look() >= change_at + within, longest_s, "the drill's verdicts are given")
            excess = server.query("karma:length_excess:cusum")
            value = excess[0].value if excess else None
    return {
        "rate": rate,
        "preference": preference,
        "changed_at": change_at,
        "verdicts": judge.verdicts,
        "fired_after": fired[ALERT] - change_at if ALERT in fired else None,
        "others": sorted(set(fired) - {ALERT}),
        "excess_pairs": value,
    }


def passes(found: dict[str, Any], within: int) -> bool:
    """Whether only the alert on length fired, after the change and soon enough."""
    after = found["fired_after"]
    return after is not None and 0 < after <= within and not found["others"]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.acceptance.drift_drill",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rate", type=float, default=10.0, help="prompts a second")
    parser.add_argument("--change-at", type=int, default=1200, help="verdicts before the judge changes")
    parser.add_argument("--verdicts", type=int, default=500, help="within which the alert is to fire")
    parser.add_argument("--preference", type=float, default=1.0, help="share of the pairs that then go by length")
    parser.add_argument("--json", type=Path, metavar="OUT")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(arguments.rate, arguments.change_at, arguments.verdicts, arguments.preference, Path(folder))
    for name, value in found.items():
        print(f"{name:<14} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(0 if passes(found, arguments.verdicts) else 1)


if __name__ == "__main__":
    main()
