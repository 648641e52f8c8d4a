"""Questions with a right and a wrong answer, for streams whose prompts have no reference or no such two responses."""

from __future__ import annotations

from typing import Final, NamedTuple


class Question(NamedTuple):
    """A question of common knowledge, with two responses of like length and tone."""

    prompt: str
    right: str
    wrong: str


QUESTIONS: Final = (
    Question("What is 17 + 26?", "17 + 26 = 43. Answer: 43", "17 + 26 = 53. Answer: 53"),
    Question("How many minutes do 3 hours have?", "3 × 60 = 180. Answer: 180", "3 × 60 = 160. Answer: 160"),
    Question("What is the capital of Australia?", "Answer: Canberra", "Answer: Brisbane"),
    Question("Spell the word “lamp” backwards.", "Answer: pmal", "Answer: palm"),
    Question("Which planet is nearest to the Sun?", "Answer: Mercury", "Answer: Jupiter"),
    Question("What is the chemical symbol of gold?", "Answer: Au", "Answer: Gd"),
    Question("Sort these numbers from small to large: 9, 4, 7.", "Answer: 4, 7, 9", "Answer: 4, 9, 7"),
    Question("How many sides does a hexagon have?", "Answer: 6", "Answer: 8"),
    Question("What is half of 250?", "250 ÷ 2 = 125. Answer: 125", "250 ÷ 2 = 150. Answer: 150"),
    Question("Which day comes two days after Friday?", "Answer: Sunday", "Answer: Monday"),
    Question("What is 9 times 8?", "9 × 8 = 72. Answer: 72", "9 × 8 = 78. Answer: 78"),
    Question("Which ocean lies between Africa and America?", "Answer: Atlantic", "Answer: Pacific"),
)
