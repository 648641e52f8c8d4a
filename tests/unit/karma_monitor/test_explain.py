"""Why a pair was formed, its verdicts and its outcome, in words."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from msgspec.structs import replace as replace_spec
from sqlalchemy import insert, select, update

from karma.config.judge_templates import template_hash
from karma.errors import KarmaError
from karma.messages import GenerateBatch, JudgeBatch, JudgeSpec
from karma.ranking.misfit import MisfitPair, PairFit
from karma.ranking.orders import SecondOrder
from karma.ranking.snapshot import Snapshot
from karma.ranking.snapshot_archive import to_bytes
from karma.store.schema import pairs, resolutions, responses, verdicts
from karma.store.template_archive import TemplateArchive
from karma_monitor.explain import explain
from karma_monitor.explanation import sentences
from karma_scoring.human_verdicts import record
from tests.support.memory import Flow, make_pool
from tests.support.stores import memory
from tests.support.uncertain import TAIL


@pytest.fixture
def flow() -> Flow:
    """One prompt, two responses, one pair judged in both orders."""
    store = memory()
    flow = Flow(store, make_pool("ab"))
    flow.accept({"prompt": "Say \x1b[31mhi", "id": "p1", "skill": "talk"})
    flow.finish()
    return flow


def change(flow: Flow, table: object, **values: object) -> None:
    """Make the store say something else of its only pair."""
    with flow.store.transaction() as transaction:
        transaction.ledger.connection.execute(update(table).values(**values))  # type: ignore[arg-type]


def told(flow: Flow, characters: int = 600) -> str:
    return sentences(explain(flow.store, 1), characters)


def test_an_unknown_pair_is_an_error_that_names_it(flow: Flow) -> None:
    with pytest.raises(KarmaError, match=r"has no pair 99\. .*karma export"):
        explain(flow.store, 99)


def test_a_judged_pair_is_told_from_prompt_to_preference(flow: Flow) -> None:
    text = told(flow)
    for said in (
        "Pair 1: prompt p1 of the stream default, skill talk",
        "Response a by a",
        "The policy informative chose it: drawn by information.",
        "Its chance of being drawn from the prompt's pairs was 100 %.",
        "Kinship: unknown, after 0 of at least 8 shared verdicts.",
        "There were no ratings yet.",
        "Its chance of being judged was 100 %.",
        "j (a first): prefers ",
        "j (b first): prefers ",
        "A preference: ",
        " certain. Judged.",
        "The judges took the same side in both orders.",
    ):
        assert said in text


def test_what_models_and_users_wrote_cannot_steer_the_terminal(flow: Flow) -> None:
    change(flow, responses, text="\x1b]0;owned\x07 \u202e evil", model=responses.c.model + "\x1b[2J")
    text = told(flow)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"Say \x1b[31mhi" in text
    assert r"\x1b]0;owned\x07 \u202e evil" in text


def test_the_template_of_a_verdict_is_named_while_the_pool_file_has_it(flow: Flow) -> None:
    own = JudgeSpec(name="j", kind="openai", template="own.jinja", template_text="{{ first }}\x1b[2J")
    change(flow, verdicts, template_hash=template_hash(own))

    facts = explain(flow.store, 1, judges=[own, replace_spec(own, template="nosuch", template_text="")])
    unnamed = explain(flow.store, 1)

    assert f"  Template {template_hash(own)}: own.jinja." in sentences(facts, 600)
    assert facts["templates"] == {template_hash(own): own.template_text}
    assert {one["template"] for one in facts["verdicts"]} == {"own.jinja"}
    said = f"Template {template_hash(own)}: no longer that of a judge in the pool file, and its text was not kept."
    assert said in sentences(unnamed, 600)
    assert unnamed["templates"] == {}


def test_the_text_of_a_template_that_the_pool_file_lost_is_in_the_store(flow: Flow) -> None:
    own = JudgeSpec(
        name="j", kind="openai", template="own.jinja", template_text="Say {{ first }}\x1b[2J", criteria={"wit": "Puns."}
    )
    hashed = template_hash(own)
    change(flow, verdicts, template_hash=hashed)
    TemplateArchive(flow.store).keep([own])

    facts = explain(flow.store, 1, judges=[JudgeSpec(name="j", kind="openai")])

    assert (facts["templates"], facts["criteria"]) == ({hashed: own.template_text}, {hashed: {"wit": "Puns."}})
    assert (
        f"Template {hashed}: own.jinja with criteria wit, no longer that of a judge in the pool file (karma explain"
    ) in sentences(facts, 600)
    whole = f"Template {hashed}, own.jinja with criteria wit:\n  | Say {{{{ first }}}}\\x1b[2J\n  Criterion wit: Puns."
    assert whole in sentences(facts, 0)
    assert whole not in sentences(facts, 600)


def test_a_person_is_named_as_one_and_has_no_template(flow: Flow) -> None:
    with flow.store.transaction() as transaction:
        record([(1, b'{"pair": 1, "verdict": "tie", "judge": "anna"}')], "default", transaction)
        record([(1, b'{"pair": 1, "verdict": "first", "judge": "ben"}')], "default", transaction)

    text = told(flow)

    assert "anna, a person (a first): prefers neither.\n" in text
    assert re.search(r"ben, a person \(a first\): prefers [ab]\.\n", text)
    assert "Template human" not in text


def test_a_verdict_without_a_template_names_none(flow: Flow) -> None:
    change(flow, verdicts, template_hash="")

    assert "Template" not in told(flow)


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        (
            {"goal": "rank", "by_goal": {"policy": "kin", "label_at": 0.8}},
            'rank, which chose policy = "kin", label_at = 0.8.',
        ),
        ({"goal": "train", "by_goal": ["policy", "label_at"]}, "train, which chose policy, label_at."),
        ({"goal": "rank", "by_goal": {}}, "rank."),
        ({"goal": "\x1b[2J", "by_goal": {"\x1b[1m": "\x1b"}}, r'\x1b[2J, which chose \x1b[1m = "\u001b".'),
        ({}, ""),
    ],
    ids=["today", "list of an earlier version", "all by hand", "hostile", "none stored"],
)
def test_the_goal_and_everything_that_it_chose_is_told(flow: Flow, reasons: dict, said: str) -> None:
    change(flow, pairs, reasons=json.dumps(reasons))
    text = told(flow)
    assert f"The stream's goal was {said}" in text if said else "goal" not in text


def test_models_whose_verdicts_contradict_their_competencies_are_told(flow: Flow) -> None:
    change(flow, pairs, reasons=json.dumps({"comparisons": 90.0}), snapshot=7)
    assert explain(flow.store, 1)["misfit"] is None
    assert "as 90 shared verdicts were too few" in told(flow)
    found = PairFit((MisfitPair("b", "a", 0.1, 0.5, -8.0, -2.2),), 1e-9)
    with flow.store.transaction() as transaction:
        known = replace(Snapshot.empty(["a", "b"]), version=7, pair_fit=found)
        transaction.preferences.add_snapshot(7, 1.0, to_bytes(known))
    text = told(flow)
    assert "Kinship: unknown, as the verdicts on the two models contradict their competencies." in text
    assert "a won 90 % of the decisive verdicts against b, where their competencies expect 50 %" in text


@pytest.mark.parametrize(
    ("probability", "said"),
    [
        (0.7, "a wins a decisive comparison with 70 %.\n"),
        (0.85, "a wins a decisive comparison with 85 %.\n"),
        (
            0.08,
            "with 8 %; win probabilities from 90 to 95 % are unreliable: 11 % of the verdicts went against them, "
            "where 7 % are expected to.",
        ),
        (0.96, "with 96 %; whether win probabilities from 95 to 98 % hold is unknown: too few verdicts."),
        (0.995, "whether win probabilities from 99 to 100 % hold is unknown: no verdicts."),
    ],
)
def test_a_win_probability_says_if_it_is_not_known_to_hold(flow: Flow, probability: float, said: str) -> None:
    change(flow, pairs, reasons=json.dumps({"win_probability": probability}))
    with flow.store.transaction() as transaction:
        known = replace(Snapshot.empty(["a", "b"]), version=7, win_tail=TAIL)
        transaction.preferences.add_snapshot(7, 1.0, to_bytes(known))
    assert said in told(flow)


def test_long_responses_are_shortened_unless_all_is_wanted(flow: Flow) -> None:
    change(flow, responses, text="a" * 2000 + "end")
    assert "1,403 more characters" in told(flow)
    assert "aend" not in told(flow)
    assert "aend" in told(flow, characters=0)


def test_a_pair_that_no_judge_saw_says_so_and_by_what_it_was_labelled(flow: Flow) -> None:
    reasons = {
        "why": "greatest kinship and likeness",
        "gate": "the prediction is good enough",
        "probability": 0.25,
        "win_probability": 0.9,
        "comparisons": 12.0,
    }
    change(flow, pairs, policy="kin", reasons=json.dumps(reasons), kinship=0.62, gap=1.5, gap_deviation=0.4, snapshot=7)
    change(flow, pairs, judged=0, judged_probability=0.03, predicted=0.93, predicted_tie=0.05)
    change(flow, resolutions, outcome="decisive", chosen=2, rejected=1, probability=0.08)
    change(flow, resolutions, label_source="predicted", flipped=None, predicted=0.08)
    text = told(flow)
    for said in (
        "Its chance of being drawn from the prompt's pairs was 25 %.",
        "Kinship 0.62: the probability that the models are about equally competent (kin).",
        "a is ahead of b by 1.50 logits ± 0.40 (standard deviation), after 12.0 shared verdicts.",
        "Why it was not judged\n  Its expected information is below the threshold of the budget: it is predicted.",
        "Its chance of being judged was 3 %.",
        "Prediction by the outcome model: a wins, if decisive, 93 %, and a tie 5 %.",
        "A preference: b over a, 92 % certain. Predicted, not judged.",
        "Prediction without its verdicts: a 8 %.",
        "It contradicts competency: the model that was behind won.",
    ):
        assert said in text


def test_a_label_says_how_far_the_responses_agree(flow: Flow) -> None:
    reasons = {
        "why": "a wide gap",
        "gate": "sure enough to label",
        "sure": True,
        "agreement": 0.2,
        "support": [0.9, 0.25],
    }
    change(
        flow, pairs, judged=0, judged_probability=0.03, predicted=0.97, predicted_tie=0.02, reasons=json.dumps(reasons)
    )
    text = told(flow)
    for said in (
        "Prediction by the competencies and the responses' agreement: a wins, if decisive, 97 %, and a tie 2 %.",
        "Common words, 0 to 1: of a and b 0.20; of a with the likest third response 0.90, of b 0.25.",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("tie", "A tie: the verdicts take no side."),
        ("inconsistent", "the two orders contradict each other"),
        ("unscored", "no valid verdict (timed out)"),
    ],
)
def test_every_outcome_has_its_sentence(flow: Flow, outcome: str, said: str) -> None:
    change(flow, resolutions, outcome=outcome, chosen=None, rejected=None, probability=None, label_source=None,
           flipped=None, reason="timed out")  # fmt: skip
    assert said in told(flow)
    assert explain(flow.store, 1)["agrees_with_competency"] is None


def test_judges_without_a_valid_verdict_are_counted(flow: Flow) -> None:
    with flow.store.transaction() as transaction:
        connection = transaction.ledger.connection
        row = dict(connection.execute(select(verdicts)).mappings().first() or {})
        connection.execute(insert(verdicts).values(**{**row, "id": 99, "judge": "k"}))
        failed = update(verdicts).where(verdicts.c.judge == "j").values(probability=None, failure="timed out")
        connection.execute(failed)
    judging = explain(flow.store, 1)["judging"]
    assert (judging["judges_valid"], judging["judges_asked"]) == (1, 2)
    text = told(flow)
    assert "Valid verdicts: 1 of 2 judges." in text
    assert "j (a first) failed: timed out." in text


def test_what_was_odd_about_a_valid_verdict_is_a_note(flow: Flow) -> None:
    assert "Note: " not in told(flow)
    change(flow, verdicts, note="no log-probabilities came\x1b[2J")
    assert explain(flow.store, 1)["verdicts"][0]["note"] == "no log-probabilities came\x1b[2J"
    assert r"  Note: no log-probabilities came\x1b[2J" in told(flow)


def test_the_facts_are_plain_data(flow: Flow) -> None:
    facts = json.loads(json.dumps(explain(flow.store, 1)))
    assert facts["pair"] == 1
    assert facts["resolution"]["label_source"] == "judge"
    assert [(one["judge"], one["order"]) for one in facts["verdicts"]] == [("j", 0), ("j", 1)]
    assert facts["verdicts"][0]["better_a"] == pytest.approx(1 - facts["verdicts"][1]["probability"])


def test_an_open_pair_says_what_it_waits_for() -> None:
    store = memory()
    flow = Flow(store, make_pool("ab"))
    flow.accept({"prompt": "hi"})
    flow.dispatcher.admit()
    for _stage in range(2):
        for message in flow.messages():
            flow.handle(flow.answer(message) if hasattr(message, "model") else message)
    text = told(flow)
    assert "2 verdicts pending." in text
    assert "None yet: its prompt is matched." in text


def test_models_that_no_verdict_connects_have_an_unknown_gap(flow: Flow) -> None:
    known = Snapshot.empty(list("abcd"))
    compared = known.comparisons.copy()
    for one, other in ((0, 2), (1, 3)):
        compared[0, one, other] = compared[0, other, one] = 9.0
    said = "No chain of verdicts connects a and b, so their gap is unknown"
    assert said not in told(flow)
    with flow.store.transaction() as transaction:
        transaction.preferences.add_snapshot(7, 1.0, to_bytes(replace(known, version=7, comparisons=compared)))
    assert said in told(flow)


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.999996, "over 99.99 %"), (0.99985, "99.98 %"), (1.0, "100 %"), (4e-6, "under 0.01 %"), (0.0, "0 %")],
)
def test_a_probability_is_never_rounded_to_certainty(flow: Flow, share: float, said: str) -> None:
    change(flow, pairs, judged_probability=share)
    assert f"Its chance of being judged was {said}." in told(flow)


def planned(says: float, audit_share: float = 1e-9, rule: bool = True, orders: str = "adaptive") -> str:
    """What is told of a pair whose judge says so much for the response shown first."""
    flow = Flow(memory(), make_pool("ab", stream={"orders": orders, "order_audit_share": audit_share}))
    doubts_the_first = SecondOrder((0.0, 0.0, -5.0, 0.0), 200)
    flow.snapshot = replace(flow.snapshot, second_orders={"j": doubts_the_first} if rule else {})
    flow.accept({"prompt": "Say hi", "id": "p1"})
    while flow.dispatcher.admit() or flow.sent:
        for batch in flow.messages():
            result = flow.answer(batch) if isinstance(batch, GenerateBatch) else batch
            flow.handle(flow.judge(batch, says) if isinstance(batch, JudgeBatch) else result)
    return " ".join(told(flow).split())


def test_the_orders_that_were_asked_are_told_with_the_reason() -> None:
    first = "P(the second order changes the label) was"
    assert f"j was asked in both orders: after the first verdict, {first} 99.33 %; up to 10 %" in planned(1.0)
    assert f"first: after the first verdict, {first} 0.67 %; up to 10 % one is enough." in planned(0.0)
    assert "j was asked in both orders: an audit drew the pair, as it does with 100 %." in planned(0.0, 1.0)
    assert "j was asked in both orders: too little was known about its second verdicts." in planned(0.0, rule=False)
    assert "first: the stream asks one order, drawn for each pair." in planned(0.0, orders="one")


def test_nothing_is_told_of_orders_where_both_are_asked(flow: Flow) -> None:
    assert "was asked" not in told(flow)
    assert explain(flow.store, 1)["judging"]["orders"] is None
