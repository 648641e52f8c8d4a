"""The model: what every accepted prompt should be after each command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import combinations
from typing import Any

from karma.queue.claims import RELEASED
from karma.seeds import seed_of
from karma_scoring.fit.time_buckets import bucket_at
from tests.properties.ledger.records import (
    AT_ONCE,
    ATTEMPTS,
    AUDIT_SHARE,
    CONTENT,
    IN_FLIGHT,
    MODELS,
    NO_PAIR,
    WINDOW,
    Item,
    Key,
    Open,
    Pair,
    Prompt,
    Ref,
    Resolution,
    Said,
    Side,
)
from tests.properties.ledger.weights import weight_of


class Model:
    """What every accepted prompt should be after each command."""

    def __init__(self, met: Counter[str]) -> None:
        self.met = met
        self.prompts: dict[Key, Prompt] = {}  # in order of acceptance
        self.counts: dict[tuple[str, str, str, int, str], float] = {}  # skill, models, bucket, what
        self.now = 0.0
        self._asked = 0
        self._counted: dict[tuple[int, Pair], tuple[str, str, str, int, str]] = {}  # cell of a counted pair

    def accept(self, stream: str, prompt_id: str, content: str, priority: int) -> str:
        known = self.prompts.setdefault((stream, prompt_id), new := Prompt(content, priority))
        return "accepted" if known is new else "present" if known.content == content else "refused"

    def admit(self) -> None:
        for _place in range(AT_ONCE):
            held = Counter(key[0] for key, one in self.prompts.items() if one.state in IN_FLIGHT)
            waiting = [(key, one) for key, one in self.prompts.items() if one.state == "accepted"]
            first = max((one.priority for _key, one in waiting), default=0)
            waiting = [(key, one) for key, one in waiting if one.priority == first]
            if not waiting:
                return
            stream = min((held[key[0]], key[0]) for key, _one in waiting)[1]
            share = WINDOW / len({*held, *(key[0] for key, _one in waiting)})
            if held.total() >= WINDOW and held[stream] + 1 > share:
                self.met["a full window"] += 1
                return
            self.met["a full window in which a stream got its share"] += held.total() >= WINDOW
            key, prompt = next((key, one) for key, one in waiting if key[0] == stream)
            if not prompt.open:
                given = CONTENT[prompt.content].get("responses")
                sides = _given(given) if given else [(model, 0) for model in MODELS[key[0]]]
                self._open(prompt, [Item("score" if given else "generate", *side) for side in sides])
            for work in prompt.open.values():
                work.parked = False
            stage = next(iter(prompt.open)).stage
            prompt.state = {"match": "answered", "judge": "matched"}.get(stage, "dispatched")
            pairs = {item.pair for item in prompt.open}
            prompt.awaited = {"match": 0, "judge": len(pairs)}.get(stage, len(prompt.open))

    def is_open(self, ref: Ref) -> bool:
        work = self.prompts[ref.key].open.get(ref.item)
        return work is not None and work.asked == ref.asked

    def is_awaited(self, ref: Ref) -> bool:
        return self.is_open(ref) and self.prompts[ref.key].state in IN_FLIGHT

    def record(self, refs: Sequence[Ref], says: Sequence[Said], carried: Sequence[tuple[Key, Item]]) -> None:
        """The first result of an open item of a prompt in flight counts, whoever brings it: the batch that carries
        the item now, or an old one."""
        for ref, said in zip(refs, says, strict=True):
            prompt = self.prompts[ref.key]
            if not self.is_open(ref):
                self.met["a result of work that was open no more"] += 1
            elif prompt.state not in IN_FLIGHT:
                self.met[f"a result for a prompt that was {prompt.state}"] += 1
            else:
                self.met["a result of an old batch that was the first"] += (ref.key, ref.item) not in carried
                del prompt.open[ref.item]
                if ref.item.stage == "match":
                    self._match(ref.key, prompt)
                elif ref.item.stage == "judge":
                    self._learn(ref.key[0], prompt, ref.item, said)
                else:
                    self._score(prompt, ref.item, said)

    def _score(self, prompt: Prompt, item: Item, said: Said) -> None:
        text, failure = said
        if failure is None and not text.strip():
            text, failure = None, "empty answer"
        prompt.responses[item.target, item.sample] = (text, failure)
        prompt.awaited -= 1
        if not prompt.awaited:
            prompt.state = "answered"
            self._open(prompt, [Item("match")])

    def _match(self, key: Key, prompt: Prompt) -> None:
        texts = {side: text.casefold().split() for side, (text, failure) in prompt.responses.items() if failure is None}
        pairs = [pair for pair in combinations(texts, 2) if texts[pair[0]] != texts[pair[1]]]
        if not pairs:
            prompt.state = "done"
            prompt.no_pair = "near-duplicates only" if len(texts) > 1 else "fewer than two usable answers"
            self.met[prompt.no_pair] += 1
            return
        prompt.state, prompt.awaited = "matched", len(pairs)
        for pair in pairs:
            orders = self._orders(key, prompt, pair)
            prompt.pairs[pair] = len(orders)
            self._open(prompt, [Item("judge", "j", 0, pair, shown) for shown in orders])

    def _orders(self, key: Key, prompt: Prompt, pair: Pair) -> tuple[int, ...]:
        """The orders that are asked at once; the draws are those of the pair's name."""
        if key[0] in ("default", "duo"):
            return 0, 1
        first = seed_of(*key, *pair[0], *pair[1], "order", "j") % 2
        audited = key[0] == "adaptive" and seed_of(*key, *pair[0], *pair[1], "order audit") < AUDIT_SHARE * 2**63
        prompt.first[pair] = first, audited
        self.met["an audit of orders"] += audited
        return (first, 1 - first) if audited else (first,)

    def _ask_again(self, prompt: Prompt, pair: Pair, first: int, probability: float | None) -> None:
        """The second order, unless the verdict takes the side of the response shown last."""
        second = Item("judge", "j", 0, pair, 1 - first)
        if probability is not None and probability < 0.45:
            self.met["a first verdict that was enough"] += (pair, 1 - first) not in prompt.verdicts
        elif second in prompt.open or (pair, 1 - first) in prompt.verdicts:
            self.met["a second order that was asked for before"] += 1
        else:
            self.met["a second order that the first verdict called for"] += 1
            prompt.pairs[pair] += 1
            self._open(prompt, [second])

    def _learn(self, stream: str, prompt: Prompt, item: Item, said: Said) -> None:
        probability, failure = said
        if probability is not None and not 0 <= probability <= 1:
            probability, failure = None, f"the probability {probability} is not in [0, 1]"
        pair = item.pair or NO_PAIR
        prompt.verdicts[pair, item.shown] = (probability, failure)
        prompt.pairs[pair] -= 1
        drawn = prompt.first.get(pair, (None, False))[0]
        if stream == "adaptive" and item.shown == drawn:
            self._ask_again(prompt, pair, drawn, probability)
        if prompt.pairs[pair]:
            return
        given = {shown: prompt.verdicts[pair, shown] for shown in (0, 1) if (pair, shown) in prompt.verdicts}
        found = prompt.resolutions[pair] = resolve(pair, given)
        self.met[found[0]] += 1
        if drawn is not None and given.get(drawn, (None, None))[0] is not None:
            found = resolve(pair, {drawn: given[drawn]})  # what counts for the competencies
        first, second = sorted(model for model, _ in pair)
        if found[0] != "unscored" and first != second:
            what = "tie" if found[1] is None else "first" if found[1][0] == first else "second"
            cell = CONTENT[prompt.content].get("skill", ""), first, second, bucket_at(self.now), what
            self.counts[cell] = self.counts.get(cell, 0.0) + weight_of(prompt.pairs)
            self._counted[id(prompt), pair] = cell
        prompt.awaited -= 1
        if not prompt.awaited:
            prompt.state = "done"

    def retry(self, work: Sequence[tuple[Key, Item]], error: str) -> None:
        """An attempt at a batch ended: counted at each of its items; only matching dies of it."""
        for key, item in work:
            one = self.prompts[key].open[item]
            one.attempts, one.error = one.attempts + 1, error
            if item.stage == "match" and one.attempts >= ATTEMPTS:
                self._bury(self.prompts[key], f"given up after {one.attempts} attempts: {error}")

    def recording_failed(self, refs: Sequence[Ref], error: str) -> None:
        """An attempt at recording results ended: counted where they would have counted."""
        counted = [ref for ref in refs if self.is_awaited(ref) and error != RELEASED]
        for ref in counted:
            one = self.prompts[ref.key].open[ref.item]
            one.result_attempts, one.error = one.result_attempts + 1, error
        for ref in counted:
            tried = self.prompts[ref.key].open[ref.item].result_attempts
            if tried >= ATTEMPTS:
                self._bury(self.prompts[ref.key], f"recording was given up after {tried} attempts: {error}")

    def _bury(self, prompt: Prompt, error: str) -> None:
        prompt.state, prompt.awaited, prompt.error = "dead", 0, error
        self.met.update({f"dead in {item.stage}" for item in prompt.open})
        for work in prompt.open.values():
            work.parked = True

    def requeue(self, what: str, stream: str | None) -> list[Key]:
        """Those that came back: what is missing is asked for anew, what is there stays."""
        back = []
        for key, prompt in self.prompts.items():
            failed = [side for side, (_, failure) in prompt.responses.items() if failure is not None]
            unscored = [pair for pair, found in prompt.resolutions.items() if found[0] == "unscored"]
            missing = {
                (pair, shown)
                for (pair, shown), (_, failure) in prompt.verdicts.items()
                if failure is not None
                and not failure.startswith("the probability")
                and pair in prompt.resolutions
                and pair not in unscored
            }
            is_meant = {
                "dead": prompt.state == "dead",
                "unanswered": prompt.state == "done" and prompt.no_pair is not None and failed,
                "incomplete": prompt.state == "done" and missing,
                "unscored": prompt.state == "done" and unscored,
            }
            if not is_meant[what] or stream not in (None, key[0]):
                continue
            back.append(key)
            self.met[f"requeued {what}"] += 1
            prompt.state, prompt.awaited, prompt.no_pair, prompt.error = "accepted", 0, None, None
            if what == "dead":
                for work in prompt.open.values():
                    work.attempts, work.result_attempts, work.error = 0, 0, None
            elif what == "unanswered":
                for side in failed:
                    del prompt.responses[side]
                self._open(prompt, [Item("generate", *side) for side in failed], parked=True)
            else:
                if what == "incomplete":
                    self._ask_for_missing(prompt, missing)
                for pair in unscored:
                    failed_orders = [shown for shown in (0, 1) if prompt.verdicts.pop((pair, shown), None)]
                    prompt.pairs[pair] = len(failed_orders)
                    del prompt.resolutions[pair]
                    again = [Item("judge", "j", 0, pair, shown) for shown in failed_orders]
                    self._open(prompt, again, parked=True)
        return back

    def _ask_for_missing(self, prompt: Prompt, missing: Collection[tuple[Pair, int]]) -> None:
        """Verdicts that failed beside valid ones are asked for again; their pairs are open, and count nothing."""
        for pair in sorted({pair for pair, _shown in missing}):
            orders = [shown for shown in (0, 1) if (pair, shown) in missing]
            for shown in orders:
                del prompt.verdicts[pair, shown]
            prompt.pairs[pair] = len(orders)
            del prompt.resolutions[pair]
            self._open(prompt, [Item("judge", "j", 0, pair, shown) for shown in orders], parked=True)
            cell = self._counted.pop((id(prompt), pair), None)
            if cell is not None:
                self.counts[cell] -= weight_of(prompt.pairs)
                if abs(self.counts[cell]) < 1e-9:
                    del self.counts[cell]

    def _open(self, prompt: Prompt, items: Sequence[Item], parked: bool = False) -> None:
        for item in items:
            self._asked += 1
            prompt.open[item] = Open(self._asked, parked=parked)


def _given(responses: Any) -> list[Side]:
    models = list(responses) if isinstance(responses, dict) else [one["model"] for one in responses]
    return [(model, models[:place].count(model)) for place, model in enumerate(models)]


def resolve(pair: Pair, given: dict[int, Said]) -> Resolution:
    """What the verdicts of one judge come to, by order; where it is 1, b was shown first."""
    better_a = [p if shown == 0 else 1 - p for shown, (p, _) in given.items() if p is not None]
    if not better_a:
        return ("unscored", None, None, None, "; ".join(sorted({str(failure) for _, failure in given.values()})))
    flipped = min(better_a) < 0.45 and max(better_a) > 0.55 if len(better_a) == 2 else None
    mean = round(sum(better_a) / len(better_a), 9)
    if abs(mean - 0.5) <= 0.05:
        return ("inconsistent" if flipped else "tie", None, mean, flipped, None)
    return ("decisive", pair[0] if mean > 0.5 else pair[1], mean, flipped, None)
