"""Labels before an answer, such as `Answer:` and the heading "Final Answer", in English and other languages."""

from __future__ import annotations

import re

#: "Answer" in languages other than English.
ANSWER = (
    "antwort|réponse|respuesta|resposta|risposta|antwoord|svaret|svar|vastaus|odpowiedź|odpověď|válasz|răspuns|cevap"
    "|yanıt|ответ|відповідь|απάντηση|jawaban|câu trả lời|đáp án|答案|答え|回答|解答|答|정답|답|الإجابة|الجواب|جواب|پاسخ"
    "|תשובה|उत्तर|উত্তর|คำตอบ"
)
_MARKS = r"(?:[*_`\"'”’\s]|</?[a-z]{1,6}>)"
#: `Answer:`, in Markdown's marks or quotes, with a colon of any width. No letter or digit may precede it.
LABEL = re.compile(
    rf"(?:answer(?<![^\W_]answer)|{ANSWER})(?P<aside>{_MARKS}{{0,3}}\([^()\n]{{1,60}}\))?"
    rf"(?P<verb> (?:is|was|equals))?(?P<inner>{_MARKS}{{0,6}})[:：]",
    re.IGNORECASE,
)
#: A line that is a heading, possibly with a number or an emoji, over the answer.
HEADING = re.compile(
    r"(?:[^\w</\n]|_|\d{1,3}[.):]){0,16}(?:(?:step|part) \d{1,3} ?[:.–—-] ?)?[*_]{0,3}"
    r"(?:(?:the|my|our|final|correct|short) ){0,3}answer[^\w:：<>?/.,;!]{0,12}",
    re.IGNORECASE,
)
DASHED = re.compile(
    r"[\s#>*_`•-]{0,12}(?:(?:the|my|our|final|correct|short) ){0,3}answer[\s*_`#]{0,12}\s[-–—]\s{1,3}(.{1,400})",
    re.IGNORECASE,
)

_CLAUSE_CHARACTERS = 60
_CLAUSE_START = re.compile(r"[.,;:!?…()\[\]{}<>|/#=、，。；：！？]|\s[–—-]\s")
_WORD = re.compile(r"[^\W\d_]+")
#: Words before a label that leave it a label. With others it may be about the answer and hold none.
_BEFORE = frozenset(
    {
        "the",
        "my",
        "our",
        "your",
        "so",
        "thus",
        "hence",
        "therefore",
        "then",
        "and",
        "final",
        "correct",
        "right",
        "short",
    }
    | {"full", "complete", "exact", "direct", "quick", "numerical", "numeric", "simplified", "overall"}
)


def is_certain(line: str, label: re.Match[str]) -> bool:
    """Whether what follows a label in a line is the answer; not of `Confidence in answer:` or `Answer (in cm):`."""
    clause = _CLAUSE_START.split(line[max(0, label.start() - _CLAUSE_CHARACTERS) : label.start()])[-1]
    return label["aside"] is None and all(word.lower() in _BEFORE for word in _WORD.findall(clause))
