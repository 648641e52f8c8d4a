"""Mixed orders: every row once, no neighbors that share a prompt where that is possible, and labels that are mixed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from karma_gateway.exports.mixing import mixed_order


@given(st.lists(st.integers(0, 6), max_size=40) | st.lists(st.integers(0, 2**63 - 1), max_size=40))
def test_neighbors_share_a_prompt_only_where_they_must(prompts: list[int]) -> None:
    order = mixed_order(prompts)
    assert sorted(order) == list(range(len(prompts)))
    assert order == mixed_order(prompts)
    if max(Counter(prompts).values(), default=0) * 2 <= len(prompts) + 1:
        assert not any(prompts[a] == prompts[b] for a, b in pairwise(order))


def test_every_part_of_the_order_has_as_many_good_as_bad_answers_and_far_neighbors() -> None:
    """A thousand pairs, good answer first, as an export adds them."""
    prompts = [1000 + index // 2 for index in range(2000)]
    order = mixed_order(prompts)
    for begin in range(0, 2000, 200):
        good = sum(index % 2 == 0 for index in order[begin : begin + 200])
        assert 60 < good < 140
    at = {index: place for place, index in enumerate(order)}
    assert min(abs(at[index] - at[index + 1]) for index in range(0, 2000, 2)) > 800
