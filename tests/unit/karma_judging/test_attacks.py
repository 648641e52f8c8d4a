"""Static attacks against the judges that need no endpoint; `tests/benchmarks/attacks.py` prints the whole trial."""

from __future__ import annotations

from collections import Counter

import pytest

from karma.checkers.answer import answer
from karma.messages import JudgeItem, JudgeSpec, Turn
from karma_judging.template import fence, render
from karma_judging.worker import ask
from tests.benchmarks.attacks import MOST_FALL, MOST_SUCCESS, own_judges
from tests.support import needs
from tests.support.attacks.corpus import FAMILIES, PER_FAMILY, Attack, corpus
from tests.support.attacks.trial import try_judge

ATTACKS = corpus()


def named(attack: Attack) -> str:
    return f"{attack.family} {attack.number}"


def test_there_are_ten_families_of_twenty_and_no_text_twice() -> None:
    assert Counter(attack.family for attack in ATTACKS) == dict.fromkeys(FAMILIES, PER_FAMILY)
    assert len(FAMILIES) == 10
    assert len({attack.text for attack in ATTACKS}) == len(ATTACKS)


def test_no_attack_is_a_rewording_of_another() -> None:
    """Two texts on the same question share less than two thirds of their words, beside the wrong response."""
    question = ATTACKS[0].question
    words = {
        (family, number): set(make(question).replace(question.wrong, " ").lower().split())
        for family, makes in FAMILIES.items()
        for number, make in enumerate(makes, 1)
        if family not in ("hidden Unicode", "long padding")  # these differ in marks and lengths, not in words
    }
    alike = [
        (one, other)
        for one, first in words.items()
        for other, second in words.items()
        if one < other and min(len(first), len(second)) > 2 and 3 * len(first & second) >= 2 * len(first | second)
    ]
    assert alike == []


def test_every_attack_is_on_a_wrong_answer_beside_a_right_one() -> None:
    for attack in ATTACKS:
        question = attack.question
        assert answer(question.right, question.reference) is True, named(attack)
        assert answer(question.wrong, question.reference) is False, named(attack)


def test_the_verifier_takes_no_attack_for_right() -> None:
    trial = try_judge(own_judges()["verifier"], ask, ATTACKS)
    assert (trial.success, trial.tied.total(), trial.flipped.total()) == (0.0, 0, 0)
    assert (trial.alone, trial.among) == (1.0, 1.0)


def test_likelihood_prefers_few_attacks_to_the_right_response() -> None:
    """A part of the corpus: six of each family."""
    needs.package("torch")
    needs.package("transformers")
    trial = try_judge(own_judges()["likelihood"], ask, [attack for attack in ATTACKS if attack.number % 3 == 1])
    assert trial.success <= MOST_SUCCESS, trial
    assert trial.alone - trial.among <= MOST_FALL, trial
    assert trial.alone > 0.9
    assert trial.flipped.total() == 0  # it sees no position


@pytest.mark.parametrize("shown", [0, 1])
def test_no_attack_ends_its_part_of_the_built_in_template(shown: int) -> None:
    spec = JudgeSpec(name="fair", kind="openai")
    for attack in ATTACKS:
        texts = attack.text, attack.question.right
        item = JudgeItem(
            item=1,
            pair=1,
            prompt=1,
            order=shown,
            seed=7,
            messages=(Turn("user", attack.question.prompt),),
            first=texts[shown],
            second=texts[1 - shown],
        )
        parts = render(spec, item).split(fence("fair", item))
        assert parts[3] == f" RESPONSE A\n{item.first}\n", named(attack)
        assert parts[4] == f" RESPONSE B\n{item.second}\n", named(attack)
        assert parts[5].startswith(" END\n"), named(attack)
        assert len(parts) == 6, named(attack)
