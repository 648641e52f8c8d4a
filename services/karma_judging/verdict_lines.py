"""Reads the verdict line of a judge's answer, and nothing else as a verdict: the answer may quote the responses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from karma.extraction.markup import without_end_tokens
from karma.extraction.objects import Pairs, objects
from karma.llm.reasoning import split_reasoning

#: Label of a verdict → P(A is better).
PROBABILITY = {"a": 1.0, "b": 0.0, "tie": 0.5}
RATIONALE_CHARACTERS = 2000
_ANSWER_CHARACTERS = 100_000
_LINE_CHARACTERS = 200
_REMARK_CHARACTERS = 1000

_WORD = re.compile(r"[^\W_]+")
_LINE_END = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")
#: Commands that change nothing about what they hold; others may strike it out or negate it.
_COMMAND = re.compile(r"\\(?:boxed|fbox|text[a-z]{0,4}|math[a-z]{2}|bf)(?![a-zA-Z])|\\[()\[\]]")
#: Between "verdict" and its label: marks that negate, strike out or compare, and tags, whose letters are no label.
_NO_VERDICT = re.compile(r"[¬!<>~?\\]|=/=")
_SYMBOLS = frozenset("✅✔🏆🥇⚖➡→⇒★⭐🔹🔷\ufe0f")  # around a verdict; other symbols may negate it
_BEFORE = frozenset({"my", "the", "final", "overall", "our", "so", "thus", "therefore", "hence"})
_BETWEEN = frozenset({"is", "response", "answer", "option", "assistant", "model"})

#: Words before a label; those other than "verdict" only with a colon or "is".
_KEYWORDS = ("verdict", "winner", "better", "preferred")
_SEPARATED = re.compile(r"[:：]|\bis\b", re.IGNORECASE)
_KEY = re.compile(r"\s*[\"'{]")  # of an object that is no JSON: it may be about a part of the comparison
_TAG = re.compile(r"<(verdict|winner)>\s{0,20}([^<>\n]{1,40}?)\s{0,20}</\1>", re.IGNORECASE)
#: The labels of MT-bench (Zheng et al. 2023, arXiv 2306.05685), of which C is a tie.
_BRACKETED = re.compile(r"\[\[(?:A|B|tie)\]\]")
_BRACKETED_TIE = "[[C]]"
_OBJECT_KEYS = frozenset({"verdict", "finalverdict", "winner", "choice", "better", "betterresponse", "preferred"})
_REASON_KEYS = frozenset({"reason", "reasoning", "rationale", "explanation", "justification"})
#: An answer that is a sentence and nothing else.
_NOUN = r"(?i:response|answer|option|assistant|model) "
_SENTENCE = re.compile(
    rf"(?:(?i:overall|the) ){{0,2}}(?:{_NOUN})?(?P<label>[AB]) "
    rf"(?:wins|is (?:the )?(?:better|best|superior)(?: (?:response|answer|one))?)"
    rf"(?: than (?:{_NOUN})?(?P<other>[AB]))?"
)

#: Remarks that close an answer. Any other text after a verdict may be about a quoted one.
_CLOSING = re.compile(
    r"(?:please |i )?(?:let me know|hope|feel free|if you (?:have|need|want|would)|thank|is there anything|would you|"
    r"do you|happy to|confidence|am confident)\b",
    re.IGNORECASE,
)
#: The beginning of a line that goes on with the sentence of the verdict above it.
_GOES_ON = frozenset({"is", "was", "isn", "does", "doesn", "loses", "would", "wins"})
#: Words after a verdict that may take it back.
_REVERSING = frozenset(
    {
        "b",
        "second",
        "latter",
        "other",
        "2",
        "worse",
        "loses",
        "weaker",
        "inferior",
        "nope",
        "incorrect",
        "false",
        "ignore",
    }
    | {"edit", "oops", "mind", "back", "kidding"}
    | {"actually", "although", "but", "contrary", "correction", "however", "instead", "mistake", "not", "reconsider"}
    | {
        "revise",
        "revised",
        "scratch",
        "sorry",
        "sure",
        "though",
        "tie",
        "unsure",
        "verdict",
        "wait",
        "withdraw",
        "wrong",
    }
)


def parse(text: str, cut: bool = False) -> tuple[float | None, str | None]:
    """The probability that A is better from the verdict line of an answer, and the rationale before it; else None.

    The line is the last one, apart from closing fences, end-of-text tokens and remarks such as "let me know". Reasoning
    never counts. Contradictory verdict lines count as none, because one of them may be a quotation. Of a text that was
    `cut`, the last line does not count: it may have gone on.
    """
    lines, unfinished = _lines(text, cut)
    labels = [_label(line) for line in lines]
    stated = [number for number, label in enumerate(labels) if label is not None]
    if not stated and not unfinished:
        return _only_sentence(lines), None
    if not stated or len({labels[number] for number in stated}) > 1:
        return None, None
    last, label = stated[-1], labels[stated[-1]]
    first = next(number for number, line in enumerate(lines) if _WORD.search(line))
    if label is None or not _is_remark("\n".join([*lines[last + 1 :], unfinished]), after_first_line=last == first):
        return None, None
    rationale = "\n".join(lines[:last]).strip().removesuffix("```").strip() or _reason(lines[last])
    return PROBABILITY[label], rationale[:RATIONALE_CHARACTERS] or None


def parse_letter(text: str) -> tuple[float | None, None]:
    """The probability from an answer of one letter, A or B, also after "Response"; None for any other answer."""
    line = " ".join(_lines(text)[0])
    words = _words(line) if not _negates(line) else []
    if len(words) == 2 and words[0].lower() in _BETWEEN:
        del words[0]
    return (PROBABILITY[words[0].lower()] if words in (["A"], ["B"]) else None), None


def _negates(text: str) -> bool:
    """Whether marks or symbols in a text may negate, strike out or compare what stands there."""
    bare = _COMMAND.sub(" ", text.rstrip(" !"))
    odd = (mark for mark in bare if not mark.isascii() and mark not in _SYMBOLS)
    return bool(_NO_VERDICT.search(bare)) or any(unicodedata.category(mark)[0] in "SM" for mark in odd)


def _lines(text: str, cut: bool = False) -> tuple[list[str], str]:
    """The lines of the answer without reasoning, and the last one apart if the text was cut in it.

    A label on the line below "Verdict:" is moved up, and a JSON object is one line.
    """
    answer, _reasoning, _is_open = split_reasoning(text)
    answer = _TAG.sub(r"\1: \2", answer[-_ANSWER_CHARACTERS:].replace(_BRACKETED_TIE, "[[tie]]"))
    for start, end, _pairs in list(objects(answer)):
        if not answer[:start].rpartition("\n")[2].strip():
            answer = answer[:start] + _LINE_END.sub(" ", answer[start:end]) + answer[end:]
    lines = without_end_tokens(answer).strip().splitlines()
    unfinished = lines.pop() if cut and lines and not text.endswith("\n") else ""
    for number in range(len(lines) - 1):
        words = [word.lower() for word in _words(lines[number])]
        if words and words[-1] == "verdict" and _BEFORE.issuperset(words[:-1]):
            below = next((other for other in range(number + 1, len(lines)) if _WORD.search(lines[other])), number)
            if below > number and len(_words(lines[below])) <= 2:
                lines[number], lines[below] = f"{lines[number]}: {lines[below]}", ""
    return lines, unfinished


def _words(line: str) -> list[str]:
    return _WORD.findall(_COMMAND.sub(" ", line)) if len(line) <= _LINE_CHARACTERS else []


def _label(line: str) -> str | None:
    """The label of a verdict line; None for any other line."""
    found = next(objects(line), None) if line.lstrip().startswith("{") else None
    if found is not None:
        labels = _object_labels(found[2])
        return labels.pop() if len(labels) == 1 and not _WORD.search(line, found[1]) else None
    words = [word.lower() for word in _words(line)]
    while words and words[0] in _BEFORE:
        del words[0]
    keyword = words[0] if words and words[0] in _KEYWORDS else ""
    if keyword not in ("", "verdict") and (_KEY.match(line) or not _SEPARATED.search(line)):
        return None
    if not keyword and not _BRACKETED.search(line):
        return None
    words = words[1:] if keyword else words
    while words and words[0] in _BETWEEN:
        del words[0]
    if words == ["a", "tie"]:
        del words[0]
    after = line[line.lower().rfind(keyword) :] if keyword else line
    return words[0] if len(words) == 1 and words[0] in PROBABILITY and not _negates(after) else None


def _object_labels(pairs: Pairs) -> set[str | None]:
    """The labels in an object, None for a verdict that is no label; empty for an object without a verdict."""
    verdicts = [value for key, value in pairs if _plain(key) in _OBJECT_KEYS]
    return {_label(f"Verdict: {value}") if isinstance(value, str) else None for value in verdicts}


def _reason(line: str) -> str:
    """The reason in an object; empty without one."""
    pairs = [pair for _start, _end, found in objects(line) for pair in found]
    return next((value for key, value in pairs if _plain(key) in _REASON_KEYS and isinstance(value, str)), "").strip()


def _plain(key: str) -> str:
    return "".join(_WORD.findall(key)).lower()


def _only_sentence(lines: Sequence[str]) -> float | None:
    """The probability by an answer that is only a sentence, such as "A is better than B."."""
    spoken = [line for line in lines if _WORD.search(line)]
    if len(spoken) != 1 or _negates(spoken[0]):
        return None
    sentence = _SENTENCE.fullmatch(" ".join(_words(spoken[0])))
    if sentence is None or sentence["other"] == sentence["label"]:
        return None
    return PROBABILITY[sentence["label"].lower()]


def _is_remark(text: str, after_first_line: bool) -> bool:
    """Whether the text after a verdict leaves it as it is.

    After a verdict on the first line, which quotes nothing, any text that names neither response may follow.
    """
    words = _WORD.findall(text[: _REMARK_CHARACTERS + 1])
    if not words:
        return True
    if words[0] in _GOES_ON or words[0].lower() == "no":
        return False
    reversing = not _REVERSING.isdisjoint(word.lower() for word in words) or not {"A", "B"}.isdisjoint(words)
    closing = all(_CLOSING.match(line.strip(" \t*_(>-")) for line in text.splitlines() if _WORD.search(line))
    return len(text) <= _REMARK_CHARACTERS and not reversing and (after_first_line or closing)
