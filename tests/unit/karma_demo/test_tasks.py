"""The tasks of the tiny family: fixed by their seed, apart by split, and answerable by their own worked solutions."""

import random
import subprocess
import sys

import pytest

from karma.checkers.answer import answer
from karma_demo.tasks import HABITATS, PHRASINGS, SKILLS, SPLITS, Skill, Split, exercise, split_of, tasks


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_arguments_give_the_same_tasks(split: Split) -> None:
    assert tasks(split, 60, seed=3) == tasks(split, 60, seed=3)


def test_another_seed_gives_other_tasks() -> None:
    first, second = tasks("demo", 60, seed=1), tasks("demo", 60, seed=2)

    assert {task.id for task in first}.isdisjoint(task.id for task in second)
    assert [task.prompt for task in first] != [task.prompt for task in second]


def test_a_shorter_list_is_the_beginning_of_a_longer_one() -> None:
    assert tasks("demo", 50)[:17] == tasks("demo", 17)


def test_every_skill_has_an_equal_share() -> None:
    counts = dict.fromkeys(SKILLS, 0)
    for task in tasks("held_out", 20 * len(SKILLS)):
        counts[task.skill] += 1

    assert counts == dict.fromkeys(SKILLS, 20)


def test_ids_and_prompts_are_unique_within_a_demo_of_600_tasks() -> None:
    made = tasks("demo", 600)

    assert len({task.id for task in made}) == 600
    assert len({task.prompt for task in made}) == 600


def test_no_prompt_occurs_in_two_splits() -> None:
    prompts = {split: {task.prompt for task in tasks(split, 1200)} for split in SPLITS}

    assert prompts["train"].isdisjoint(prompts["held_out"])
    assert prompts["train"].isdisjoint(prompts["demo"])
    assert prompts["held_out"].isdisjoint(prompts["demo"])


def test_a_payload_keeps_its_split_whatever_the_wording() -> None:
    for task in tasks("demo", 120):
        if task.skill == "reverse":
            word = task.reference[::-1]
            assert split_of("reverse", word) == "demo"


def test_about_seven_payloads_in_ten_are_for_training() -> None:
    share = sum(split_of("addition", f"{a}+{b}") == "train" for a in range(10, 100) for b in range(10, 100)) / 8100

    assert share == pytest.approx(0.70, abs=0.02)


@pytest.mark.parametrize("skill", SKILLS)
def test_the_worked_solution_is_right_by_the_answer_checker(skill: Skill) -> None:
    rng = random.Random(5)
    for _ in range(50):
        solved = exercise(skill, "train", rng)
        assert answer(solved.response, solved.reference)
        assert solved.response.endswith(f"Answer: {solved.reference}")


@pytest.mark.parametrize("skill", SKILLS)
def test_every_phrasing_of_a_skill_is_used(skill: Skill) -> None:
    openings = {phrasing.split("{")[0] for phrasing in PHRASINGS[skill]}
    prompts = [task.prompt for task in tasks("demo", 600) if task.skill == skill]

    assert {opening for opening in openings if any(prompt.startswith(opening) for prompt in prompts)} == openings


def test_references_are_what_the_prompt_asks_for() -> None:
    for task in tasks("held_out", 300):
        words = task.prompt.replace("?", "").replace(".", "").replace(",", "").split()
        if task.skill == "addition":
            assert int(task.reference) == sum(int(word) for word in words if word.isdigit())
        elif task.skill == "sort":
            assert task.reference.split() == sorted(word for word in words if word.isdigit())
        elif task.skill == "dashes":
            assert task.reference.replace("-", "").lower() in words
        elif task.skill == "reverse":
            assert task.reference[::-1] in words
        elif task.skill == "facts":
            assert task.reference == ", ".join(HABITATS[word] for word in words if word in HABITATS)


def test_an_unknown_split_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown split 'test'; expected one of train, held_out, demo"):
        tasks("test", 1)  # type: ignore[arg-type]


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="count is -1; expected zero or more"):
        tasks("demo", -1)


def test_skills_and_family_do_not_import_torch() -> None:
    program = "import sys, karma_demo.tasks, karma_demo.family; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
