"""Duplicates within the input of one command."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Literal

from karma_gateway.prompt_lines import read
from karma_gateway.sources.duplicates import Duplicates


def sorted_out(choice: Literal["skip", "keep"], *rows: dict) -> tuple[list[str], int, int]:
    found = [(None, read(json.dumps(row).encode(), 1000)) for row in rows]
    with closing(Duplicates(choice)) as duplicates:
        first, skipped, kept = duplicates.sort_out(found[:2])  # it remembers from chunk to chunk
        second, more_skipped, more_kept = duplicates.sort_out(found[2:])
    ids = [prompt.prompt_id for _item, prompt in first + second]
    return ids, skipped + more_skipped, kept + more_kept


ROWS = [{"id": "a", "prompt": "p"}, {"id": "b", "prompt": "q"}, {"id": "c", "prompt": "p"}, {"prompt": "q"}]


def test_the_first_of_a_text_is_taken_and_the_others_are_skipped() -> None:
    assert sorted_out("skip", *ROWS) == (["a", "b"], 2, 0)


def test_kept_duplicates_without_an_id_get_one_that_is_the_same_in_the_next_run() -> None:
    same = {"prompt": "r"}
    ids, skipped, kept = sorted_out("keep", same, *ROWS, same, same)
    assert (len(set(ids)), skipped, kept) == (7, 0, 4)
    assert [id_.partition("-")[2] for id_ in ids if id_.startswith(ids[0])] == ["", "2", "3"]
    assert sorted_out("keep", same, *ROWS, same, same)[0] == ids


def test_other_metadata_makes_no_other_text() -> None:
    assert sorted_out("skip", {"prompt": "p", "source": "a"}, {"prompt": "p", "source": "b"})[1] == 1
