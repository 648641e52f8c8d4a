"""`math` knows equal expressions, and reads plain numbers itself."""

from __future__ import annotations

import select
import threading
from typing import Any

import pytest

from karma.checkers import math as module
from karma.checkers.math import math
from karma.errors import MissingExtraError
from tests.support import needs


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests share the cores: what is read at all is read in this time."""
    monkeypatch.setattr(module, "_ANSWER_S", 30.0)


@pytest.fixture
def verifying() -> None:
    needs.package("math_verify", by="pip install -e '.[math]'")


@pytest.mark.parametrize(
    ("text", "reference", "right"),
    [
        ("$10\\,000$", "10000", True),
        ("\\boxed{1\\,500}", "1500", True),
        ("Answer: 1e3", "1000", True),
        ("9.1e-31", "1.6e-19", False),
        ("0", "1.6e-19", False),
        ("yes", "yes", True),
        ("Answer: **Yes**", "yes", True),
        ("Answer: no", "yes", False),
        ("$2x+3$", "2x+3", True),
        ("<think>$x$", "x", False),
        ("", "x", False),
        ("3,5", "3.5", None),
        ("10-12", "12", None),
        ("Answer: 42\nConfidence in answer: high", "42", None),
        ("It is not clear to me what is meant. " * 4, "x", None),
        ("$" + "1" * 100 + "x$", "x", None),
    ],
)
def test_plain_answers_need_no_package(
    text: str, reference: str, right: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _name: None)

    assert math(text, reference) is right


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _name: None)

    with pytest.raises(MissingExtraError, match=r"math needs the package math-verify\..*pip install 'karma\[math\]'"):
        math("$x+y$", "y+x")


@pytest.mark.usefixtures("verifying")
@pytest.mark.parametrize(
    ("text", "reference", "right"),
    [
        ("\\boxed{2x+3}", "3+2x", True),
        ("\\boxed{2x+3}", "$2x$", False),
        ("Answer: $\\frac{3}{2\\sqrt{3}}$", "\\frac{\\sqrt{3}}{2}", True),
        ("\\boxed{x=5}", "5", True),
        ("\\boxed{2+3}", "5", True),
        ("\\boxed{3x+4}", "4", False),
        ("So $y = 1$, and the answer is $\\{2, 1\\}$.", "\\{1,2\\}", True),
        ("$\\frac{10\\,000}{3}x$", "\\frac{10000}{3}x", True),
        ("$9.1\\times 10^{-31}$ m", "$1.6\\times 10^{-19}$ m", False),
        ("Answer: 42 (see step 3)", "42", None),
        ("\\boxed{x^3}", "x^2", False),
    ],
)
def test_equal_expressions_are_right_also_in_a_thread(text: str, reference: str, right: bool | None) -> None:
    found: list[bool | None] = []
    thread = threading.Thread(target=lambda: found.append(math(text, reference)))
    thread.start()
    thread.join()

    assert found == [right]


@pytest.mark.usefixtures("verifying")
def test_an_expression_that_takes_too_long_is_unknown_and_the_next_one_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    real = select.select

    def never_in_no_time(*arguments: Any) -> Any:
        return real(*arguments) if arguments[-1] else ([], [], [])

    with monkeypatch.context() as patched:
        patched.setattr(module, "_ANSWER_S", 0.0)
        patched.setattr(module.select, "select", never_in_no_time)
        assert math("$x+y$", "y+x") is None

    assert math("$x+y$", "y+x") is True
