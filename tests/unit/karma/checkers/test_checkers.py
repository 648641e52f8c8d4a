"""What counts as a right response."""

from importlib.metadata import EntryPoint

import pytest

from karma import plugins
from karma.checkers.answer import answer
from karma.checkers.contains import contains
from karma.checkers.exact import exact
from karma.checkers.number import number
from karma.errors import SettingsError
from karma.plugins import checker
from karma.plugins.registry import CHECKERS


@pytest.mark.parametrize(
    ("text", "reference", "right"),
    [
        ("Answer: 42", "42", True),
        ("2+3=5, 1+1=2. Answer: 25", "25", True),
        ("answer :  42 .", "42", True),
        ("Answer: 1\nAnswer: 2", "2", True),
        ("Answer: 2\nAnswer: 1", "2", False),
        ("Answer: 1  2 3", "1 2 3", True),
        ("Answer: a-b", "A-B", False),
        ("Answer: 42 apples", "42", False),
        ("42", "42", False),
        ("", "42", False),
    ],
)
def test_answer_reads_what_follows_the_last_answer(text: str, reference: str, right: bool) -> None:
    assert answer(text, reference) is right


@pytest.mark.parametrize(
    ("text", "reference", "right"), [(" yes\n", "yes", True), ("yes.", "yes", False), ("Yes", "yes", False)]
)
def test_exact_forgives_only_white_space_at_the_ends(text: str, reference: str, right: bool) -> None:
    assert exact(text, reference) is right


@pytest.mark.parametrize(
    ("text", "reference", "right"),
    [("It is PARIS, of course", "paris", True), ("London", "paris", False), ("anything", "  ", False)],
)
def test_contains_ignores_case_and_never_finds_an_empty_reference(text: str, reference: str, right: bool) -> None:
    assert contains(text, reference) is right


@pytest.mark.parametrize(
    ("text", "reference", "right"),
    [
        ("3 + 4 = 7", "7", True),
        ("7-3", "3", True),
        ("it is -3", "-3", True),
        ("it is −3", "-3", True),
        ("1,234.50", "1234.5", True),
        ("2e3", "2000", True),
        ("7 or 8", "7", False),
        ("none", "7", False),
    ],
)
def test_number_compares_the_last_number(text: str, reference: str, right: bool) -> None:
    assert number(text, reference) is right


def test_number_refuses_a_reference_that_is_none() -> None:
    with pytest.raises(ValueError, match="reference 'seven' is not a number"):
        number("7", "seven")


@pytest.mark.parametrize("name", sorted(CHECKERS))
def test_built_in_checkers_are_found_by_name(name: str) -> None:
    assert checker(name)("42", "42") is (name != "answer")


def test_an_unknown_checker_is_refused_with_the_known_names() -> None:
    with pytest.raises(
        SettingsError, match="no checker is called 'vibes'; known are: answer, contains, exact, math, number"
    ):
        checker("vibes")


def test_an_installed_package_can_add_a_checker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: [EntryPoint("same", "operator:eq", group)])

    assert checker("same")("a", "a") is True


def test_an_added_checker_that_cannot_be_called_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: [EntryPoint("pi", "math:pi", group)])

    with pytest.raises(SettingsError, match=r"checker 'pi' is a float; expected a function"):
        checker("pi")
