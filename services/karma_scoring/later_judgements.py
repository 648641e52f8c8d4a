"""Opens judgements that verdicts call for, in the transaction that records these verdicts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping

from karma.store import Transaction
from karma.store.records import BatchLimits, PairRow, PromptRow, Work


def open_judgements(
    called: Collection[tuple[int, str, int]],
    pairs: Mapping[int, PairRow],
    prompts: Mapping[int, PromptRow],
    transaction: Transaction,
    limits: BatchLimits,
) -> Counter[int]:
    """Open judgements; returns pair → number. One that is open or has its verdict, as after a requeue, stays as it is.

    Args:
        called: (pair, judge, order).
        pairs: theirs.
        prompts: of the pairs, all of one stream, their rows locked.
        transaction: which holds these rows.
        limits: of a message.
    """
    if not called:
        return Counter()
    known = transaction.work.open_orders({pairs[pair].prompt for pair, *_ in called})
    for given in transaction.preferences.verdicts_of({pair for pair, *_ in called}).values():
        known |= {(each.pair, each.judge, each.shown) for each in given}
    work: defaultdict[tuple[int, str], list[Work]] = defaultdict(list)  # by priority and judge
    for id_, judge, shown in called:
        pair = pairs[id_]
        if (id_, judge, shown) not in known:
            size = pair.length_a + pair.length_b
            work[prompts[pair.prompt].priority, judge].append(Work(pair.prompt, pair=id_, shown=shown, size=size))
    for priority, judge in sorted(work, key=lambda key: (-key[0], key[1])):
        stream = prompts[work[priority, judge][0].prompt].stream
        transaction.work.open("judge", judge, stream, priority, work[priority, judge], limits)
    return Counter(each.pair for opened in work.values() for each in opened)
