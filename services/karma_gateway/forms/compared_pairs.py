"""Prompts with two responses and who was better: HelpSteer3, arena votes, PKU-SafeRLHF, AlpacaEval, SHP."""

from __future__ import annotations

from typing import Any

from karma_gateway.forms.draft import Draft, Fields, Form, drafted, list_of, needs, text_of
from karma_gateway.forms.rated import number_of, same_turns, sides, split
from karma_gateway.json_values import RefusedError, found, non_empty


def _side(signed: float | None) -> float | None:
    """Who is better by a number that is positive where the first is, 0 for a tie."""
    return None if signed is None else 0.5 if signed == 0 else float(signed > 0)


def _helpsteer3(row: Fields) -> Draft:
    """`overall_preference` from -3 (response 1 is much better) to 3 (response 2 is); 0: about the same."""
    texts = text_of(row.pop("response1"), "response1"), text_of(row.pop("response2"), "response2")
    preference = number_of(row.get("overall_preference"))
    better = _side(None if preference is None else -preference)
    return drafted(row, messages=list_of(row.pop("context"), "context"), responses=sides((None, None), texts, better))


def _arena_55k(row: Fields) -> Draft:
    """Lists of texts in JSON, one a turn, and three columns of which one is 1."""
    prompts, first, second = (_texts(row.pop(name), name) for name in ("prompt", "response_a", "response_b"))
    if not len(prompts) == len(first) == len(second):
        raise RefusedError("`prompt`, `response_a` and `response_b` have different numbers of turns")
    if len(prompts) > 1:
        raise RefusedError(
            f"the two models have chats of {len(prompts)} turns of their own, so that their last answers are to "
            "different prompts"
        )
    votes = [number_of(row.get(f"winner_{name}")) or 0.0 for name in ("model_a", "model_b", "tie")]
    better = dict(enumerate((1.0, 0.0, 0.5))).get(votes.index(1.0)) if votes.count(1.0) == 1 else None
    models = row.pop("model_a"), row.pop("model_b")
    return drafted(row, prompt=prompts[0], responses=sides(models, (first[0], second[0]), better))


def _texts(value: Any, name: str) -> list[str]:
    values = list_of(value, name) if not isinstance(value, str) or value.lstrip().startswith("[") else [value]
    for each in values:
        if each is None:
            raise RefusedError(f"`{name}` holds a turn without a text (null)")
        text_of(each, name)
    return values


def _arena_chats(row: Fields) -> Draft:
    """Whole chats and a column `winner`: model_a, model_b, tie, tie (bothbad) or both_bad."""
    before, first = split(row.pop("conversation_a"), "conversation_a")
    other, second = split(row.pop("conversation_b"), "conversation_b")
    if not same_turns(before, other):
        raise RefusedError("the two chats differ before their last turn, so that they answer no one prompt")
    winner = str(row.get("winner"))
    better = {"model_a": 1.0, "model_b": 0.0}.get(winner)
    if better is None and (winner.startswith("tie") or winner == "both_bad"):
        better = 0.5
    turns = [{name: turn[name] for name in ("role", "content") if name in turn} for turn in before]
    models = row.pop("model_a"), row.pop("model_b")
    return drafted(row, messages=turns, responses=sides(models, (first, second), better))


def _saferlhf(row: Fields) -> Draft:
    """`better_response_id` (0 or 1) is about helpfulness; `safer_response_id` travels along."""
    texts = text_of(row.pop("response_0"), "response_0"), text_of(row.pop("response_1"), "response_1")
    said = number_of(row.get("better_response_id"))
    better = None if said is None else {0.0: 1.0, 1.0: 0.0}.get(said)
    models = row.get("response_0_source"), row.get("response_1_source")
    return drafted(row, prompt=row.pop("prompt"), responses=sides(models, texts, better))


def _alpaca_eval(row: Fields) -> Draft:
    """`preference` is from 1 (`output_1` is better) to 2, and 1.5 for a tie; 0 in old files too."""
    texts = text_of(row.pop("output_1"), "output_1"), text_of(row.pop("output_2"), "output_2")
    preference = number_of(row.get("preference"))
    better = _side(None if preference is None else 0.0 if preference == 0 else 1.5 - preference)
    models = row.pop("generator_1", None), row.pop("generator_2", None)
    prompt = non_empty(row.pop("instruction"), "`instruction`")
    context = row.pop("input", "")
    if isinstance(context, str) and context.strip():
        prompt = f"{prompt}\n\n{context}"
    return drafted(row, prompt=prompt, responses=sides(models, texts, better))


def _shp(row: Fields) -> Draft:
    """`labels` is 1 where `human_ref_A` has more votes for its time, else 0."""
    texts = text_of(row.pop("human_ref_A"), "human_ref_A"), text_of(row.pop("human_ref_B"), "human_ref_B")
    label = row.get("labels")
    if label not in (0, 1):
        raise RefusedError(f"`labels` must be 0 or 1, found {found(label)}")
    return drafted(row, prompt=row.pop("history"), responses=sides((None, None), texts, float(label)))


HELPSTEER3 = Form(
    "HelpSteer3", needs("context", "response1", "response2", optional=("overall_preference",)), _helpsteer3
)
ARENA_55K = Form(
    "arena votes",
    needs(
        *("prompt", "model_a", "model_b", "response_a", "response_b"),
        optional=("winner_model_a", "winner_model_b", "winner_tie"),
    ),
    _arena_55k,
)
ARENA_CHATS = Form(
    "arena chats", needs("model_a", "model_b", "conversation_a", "conversation_b", "winner"), _arena_chats
)
SAFERLHF = Form(
    "PKU-SafeRLHF",
    needs("prompt", "response_0", "response_1", optional=("better_response_id",)),
    _saferlhf,
)
ALPACA_EVAL = Form("AlpacaEval", needs("instruction", "output_1", "output_2", optional=("preference",)), _alpaca_eval)
SHP = Form("SHP", needs("history", "human_ref_A", "human_ref_B", "labels"), _shp)
