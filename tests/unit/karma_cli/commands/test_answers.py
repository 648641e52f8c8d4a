"""`karma judge` takes answers in any form."""

from __future__ import annotations

from karma_cli.commands.judge.answers import Answers
from karma_gateway.ingest import Refusal
from karma_gateway.sources.items import Fault, Row
from tests.support.stores import memory


def test_answers_of_any_form_are_taken_and_what_has_fewer_than_two_is_refused() -> None:
    answers, refused = Answers(memory(), "default", 1000), list[Refusal]()
    rows = [
        Row("t", 1, {"prompt": "p", "chosen": "a", "rejected": "b"}),
        Row(
            "t",
            2,
            {"instruction": "q", "completions": [{"model": "m", "response": "a"}, {"model": "n", "response": ""}]},
        ),
        Row("t", 3, {"prompt": "r"}),
        Fault("t", 4, "cut"),
    ]
    answers.take([rows], lambda found, _before: refused.extend(found))
    assert (answers.receipt.accepted, answers.one_model) == (1, False)
    reasons = [(refusal.number, refusal.reason.partition(";")[0]) for refusal in refused]
    assert reasons == [(2, "has one response and 1 empty"), (3, "has no `responses`"), (4, "cut")]
