"""The facts about a pair (`karma_monitor.explain`) as sentences for a terminal and for the page."""

from __future__ import annotations

import json
from typing import Any

from karma.config.derived_streams import CANARIES, REJUDGE
from karma.ranking.snapshot import KIN_COMPARISONS, KIN_THRESHOLD
from karma.telemetry.escaping import escape_control, shortened
from karma_monitor.explained_judges import judges_sentence
from karma_monitor.figures.formatting import percent
from karma_monitor.figures.models.misfit import misfit_sentence
from karma_monitor.template_words import quoted, template_name, template_texts

Facts = dict[str, Any]


def sentences(facts: Facts, characters: int) -> str:
    """The facts as text for a terminal: prompt and responses shortened to so many characters (0: whole)."""
    skill = f", skill {escape_control(facts['skill'])}" if facts["skill"] else ""
    prompt, stream = escape_control(facts["prompt_id"]), escape_control(facts["stream"])
    lines = [f"Pair {facts['pair']}: prompt {prompt} of the stream {stream}{skill}"]
    for turn in facts["messages"]:
        lines += quoted(f"Message of the {turn['role']}:", turn["content"], characters)
    if facts["reference"] is not None:
        lines += quoted("Reference answer:", facts["reference"], characters)
    for side, response in facts["responses"].items():
        known = "" if response["quality"] is None else f", quality {response['quality']:.2f} by the stream's checker"
        sample = f" (sample {response['sample'] + 1})" if response["sample"] else ""
        count = len(response["text"] or "")
        length = f"{count:,} character{'' if count == 1 else 's'}"
        heading = f"Response {side} by {escape_control(response['model'])}{sample}, {length}{known}:"
        lines += quoted(heading, response["text"] or "", characters)
    for title, section in (
        ("Why it was formed", _formed(facts)),
        ("Why it was judged" if facts["judging"]["judged"] else "Why it was not judged", _judging(facts)),
        ("Verdicts", _verdicts(facts)),
        ("Outcome", _resolution(facts)),
    ):
        lines += ["", title, *(f"  {sentence}" for sentence in section)]
    return "\n".join(lines if characters else lines + template_texts(facts))


def _names(facts: Facts) -> tuple[str, str]:
    """The two sides by their models' names; by a and b where both are of one model."""
    a, b = (escape_control(facts["responses"][side]["model"]) for side in "ab")
    return (a, b) if a != b else (f"a ({a})", f"b ({b})")


def _formed(facts: Facts) -> list[str]:
    formed = facts["formed"]
    a, b = _names(facts)
    why = escape_control(str(formed.get("why") or "no reason was stored"))
    drawn = formed["policy"] not in (REJUDGE, CANARIES)
    lines = [
        f"The policy {escape_control(formed['policy'])} chose it: {why}." if drawn else f"No policy chose it: {why}."
    ]
    if by_goal := _by_goal(formed):
        lines.append(by_goal)
    if drawn and formed.get("probability") is not None:
        lines.append(f"Its chance of being drawn from the prompt's pairs was {percent(formed['probability'])}.")
    lines.append(_kinship(facts))
    if facts["misfit"]:
        lines.append(
            f"Misfit: one competency per model does not explain these two. {misfit_sentence(facts['misfit'])}."
        )
    if formed["gap"] is not None:
        ahead = f"{a} is ahead of {b}" if formed["gap"] > 0 else f"{b} is ahead of {a}"
        expected = "0.00 logits" if formed["gap"] == 0 else f"{ahead} by {abs(formed['gap']):.2f} logits"
        deviation = "" if formed["gap_deviation"] is None else f" ± {formed['gap_deviation']:.2f} (standard deviation)"
        lines.append(f"Competency gap: {expected}{deviation}, after {_shared(formed)}.")
    if facts["apart"]:
        lines.append(f"No chain of verdicts connects {a} and {b}, so their gap is unknown; the figures are a guess.")
    if formed.get("win_probability") is not None:
        won = f"By competency alone {a} wins a decisive comparison with {percent(formed['win_probability'])}"
        lines.append(f"{won}{_whether_it_holds(facts['win_bin'])}.")
    if formed["information"] is not None:
        lines.append(f"Expected information {formed['information']:.2f} bits (at most 1).")
    if formed["likeness"] is not None:
        lines.append(f"Similarity of the responses in quality and complexity {formed['likeness']:.2f} (0 to 1).")
    if formed["novelty"] is not None:
        lines.append(f"Novelty of the prompt {formed['novelty']:.2f}: share of new text (0 to 1).")
    lines.append(f"Ratings version {formed['snapshot']}." if formed["snapshot"] else "There were no ratings yet.")
    return lines


def _by_goal(formed: Facts) -> str:
    """The stream's goal when the pair was formed, with the settings that it chose; empty where none is stored.

    `by_goal` is setting → value, in pairs of earlier versions a list of settings.
    """
    if "goal" not in formed:
        return ""
    given = formed.get("by_goal") or ()
    values = given if isinstance(given, dict) else {}
    chosen = [f"{key} = {json.dumps(values[key], ensure_ascii=False)}" if key in values else str(key) for key in given]
    chose = f", which chose {', '.join(chosen)}" if chosen else ""
    return escape_control(f"The stream's goal was {formed['goal']}{chose}.")


def _whether_it_holds(found: Facts | None) -> str:
    """A remark on a win probability whose bin is not known to hold."""
    if found is None or found["state"] == "reliable":
        return ""
    such = f"win probabilities from {100 * found['low']:g} to {100 * found['high']:g} %"
    if found["state"] == "unknown":
        return f"; whether {such} hold is unknown: {found['why']}"
    wrong, stated = percent(found["observed"]), percent(found["stated"])
    return f"; {such} are unreliable: {wrong} of the verdicts went against them, where {stated} are expected to"


def _kinship(facts: Facts) -> str:
    """Kinship by the rule of the page's matrix: unknown below so many shared verdicts."""
    kinship, comparisons = facts["formed"]["kinship"], facts["formed"].get("comparisons") or 0.0
    if facts["responses"]["a"]["model"] == facts["responses"]["b"]["model"]:
        return "Kinship 1.00: both responses are of one model."
    if comparisons < KIN_COMPARISONS:
        return f"Kinship: unknown, after {comparisons:.0f} of at least {KIN_COMPARISONS:.0f} shared verdicts."
    if kinship is None and facts["misfit"]:
        return "Kinship: unknown, as the verdicts on the two models contradict their competencies."
    if kinship is None:
        return f"Kinship: unknown, as {comparisons:.0f} shared verdicts were too few."
    kin = "kin" if kinship >= KIN_THRESHOLD else "not kin"
    return f"Kinship {kinship:.2f}: the probability that the models are about equally competent ({kin})."


def _shared(formed: Facts) -> str:
    comparisons = formed.get("comparisons")
    return f"{comparisons:.1f} shared verdicts" if comparisons else "no shared verdicts"


#: The reasons of the judge budget (`karma_matching.budget.allocation` and `sure_labels`).
_BUDGET = {
    "informative enough": "Its expected information is above the threshold of the budget: such pairs are judged.",
    "at the threshold": "Its expected information is at the threshold of the budget: it was drawn to be judged.",
    "too little is known to predict": "Too little is known to predict its outcome, so it was judged.",
    "the label might be wrong": "The stream's max_label_error lets no such label go out unjudged, whatever the budget.",
    "audit": "It was drawn for the audit, which estimates the share of wrong predicted labels.",
    "the prediction is good enough": "Its expected information is below the threshold of the budget: it is predicted.",
    "the hour's judge calls are spent": "The judge calls of the last hour had reached the limit: it is predicted.",
    "sure enough to label": "The posterior is sure enough to label it, and the audit did not draw it.",
    "not sure enough to label": "The posterior is not sure enough to label it, and a judge call was left.",
    "not sure enough to label, and no judge call was left": "The posterior is not sure enough to label it, and no "
    "judge call was left: exports leave its prediction out.",
    "a tie is likely": "A tie is likely: such pairs are not labeled, and a small share of them is judged.",
    "enough preferences of one of these two models over the other": "The stream has enough preferences of one of these "
    "two models over the other: such pairs are not labeled, and a small share of them is judged.",
    "the hour's judge calls are spread over its pairs": "The hourly limit affords to judge a part of the pairs: it is "
    "predicted.",
}


def _judging(facts: Facts) -> list[str]:
    judging = facts["judging"]
    a, _b = _names(facts)
    lines = []
    if judging["why"]:
        why = str(judging["why"])
        lines.append(_BUDGET.get(why, f"The judge budget's reason: {escape_control(why)}."))
    elif judging["probability"] >= 1.0:
        lines.append("The stream has no judge budget: every pair is judged.")
    if judging["information"] is not None and judging["sure"] is None:
        given = "given the verdicts on the prompt's other pairs"
        lines.append(f"Expected information {judging['information']:.2f} bits, {given}.")
    lines.append(f"Its chance of being judged was {percent(judging['probability'])}.")
    if judging["predicted"] is not None:
        tie = "" if judging["predicted_tie"] is None else f", and a tie {percent(judging['predicted_tie'])}"
        by = "the outcome model" if judging["sure"] is None else "the competencies and the responses' agreement"
        lines.append(f"Prediction by {by}: {a} wins, if decisive, {percent(judging['predicted'])}{tie}.")
    if (support := facts["formed"].get("support")) is not None:
        lines.append(
            f"Common words, 0 to 1: of a and b {facts['formed']['agreement']:.2f}; of a with the likest third response "
            f"{support[0]:.2f}, of b {support[1]:.2f}."
        )
    return lines


def _verdicts(facts: Facts) -> list[str]:
    judging = facts["judging"]
    lines = []
    for one in facts["verdicts"]:
        shown = "a first" if one["order"] == 0 else "b first"
        judge = f"{escape_control(one['judge'])}{', a person' if one['is_person'] else ''} ({shown})"
        if one["better_a"] is None:
            lines.append(f"{judge} failed: {shortened(one['failure'] or 'no reason', 200)}.")
        else:
            certainty = "" if one["is_person"] else _certainty(one["better_a"])
            lines.append(f"{judge}: {_preferred(facts, one['better_a'])}{certainty}.")
        if one["template_hash"]:
            lines.append(f"  Template {one['template_hash']}: {template_name(one)}.")
        if one["note"]:
            lines.append(f"  Note: {shortened(one['note'], 300)}")
        if one["rationale"]:
            lines.append(f"  Rationale: {shortened(one['rationale'], 300)}")
    lines += [_orders(one) for one in judging["orders"] or () if one["asked"] or not judging["judges"]]
    if judging["judges"]:
        lines.append(judges_sentence(judging["judges"]))
    if judging["judges_valid"] < judging["judges_asked"]:
        lines.append(f"Valid verdicts: {judging['judges_valid']} of {judging['judges_asked']} judges.")
    if judging["awaited"] > 0:
        lines.append(f"{judging['awaited']} verdict{'s' if judging['awaited'] > 1 else ''} pending.")
    return lines or ["None: it was not judged."]


def _orders(one: Facts) -> str:
    """Which orders of a pair a judge was asked, and why."""
    judge, first = escape_control(one["judge"]), "a first" if one["first"] == 0 else "b first"
    asked = f"{judge} was asked {'in both orders' if len(one['asked']) == 2 else f'one order, {first}'}"
    if not one["asked"]:
        asked = f"{judge} has given no verdict yet, and is asked {first}"
    doubt = f"P(the second order changes the label) was {percent(one['doubt'])}" if one["doubt"] is not None else ""
    if one["why"] == "doubt" and doubt:
        return f"{asked}: after the first verdict, {doubt}; up to {percent(one['most_doubt'])} one is enough."
    why = {
        "one": "the stream asks one order, drawn for each pair",
        "audit": f"an audit drew the pair, as it does with {percent(one['audit_share'])}",
        "unknown": "too little was known about its second verdicts",
        "doubt": f"{first} was drawn to be asked first",
    }[one["why"]]
    return f"{asked}: {why}."


def _preferred(facts: Facts, better_a: float) -> str:
    a, b = _names(facts)
    return "prefers neither" if better_a == 0.5 else f"prefers {a if better_a > 0.5 else b}"


def _certainty(better_a: float) -> str:
    return "" if better_a == 0.5 else f", {percent(max(better_a, 1 - better_a))} certain"


def _resolution(facts: Facts) -> list[str]:
    resolution = facts["resolution"]
    if resolution is None:
        return [f"None yet: its prompt is {facts['state']}."]
    a, b = _names(facts)
    if resolution["outcome"] == "decisive":
        chosen, rejected = (a, b) if resolution["chosen"] == "a" else (b, a)
        p = resolution["probability"]
        label = "Judged" if resolution["label_source"] == "judge" else "Predicted, not judged"
        certainty = "" if p is None else f", {percent(max(p, 1 - p))} certain"
        lines = [f"A preference: {chosen} over {rejected}{certainty}. {label}."]
    else:
        lines = [
            {
                "tie": "A tie: the verdicts take no side. It is not a preference.",
                "inconsistent": "Inconsistent: the two orders contradict each other and leave no side.",
                "canary": f"A canary: {_canary(facts)}. It is no preference, and is not exported.",
                "unscored": f"Unscored: no valid verdict ({shortened(resolution['reason'] or 'no reason', 200)}).",
            }[resolution["outcome"]]
        ]
    if resolution["weighed"]:
        lines.append(_weighed(resolution["weighed"]))
    if resolution["flipped"] is not None:
        both = "different sides in the two orders" if resolution["flipped"] else "the same side in both orders"
        lines.append(f"The judges took {both}.")
    if resolution["predicted"] is not None:
        lines.append(f"Prediction without its verdicts: {a} {percent(resolution['predicted'])}.")
    agreement = {
        True: "It agrees with competency: the model that was ahead won.",
        False: "It contradicts competency: the model that was behind won.",
    }
    if facts["agrees_with_competency"] is not None:
        lines.append(agreement[facts["agrees_with_competency"]])
    return lines


def _canary(facts: Facts) -> str:
    right, attack = facts["formed"].get("canary") or ("neither", False)
    return f"{right} is right, and the other response {'has an attack on the judge inside' if attack else 'is wrong'}"


def _weighed(weighed: Facts) -> str:
    """What each judge counted for, the heaviest first."""
    heaviest = sorted(weighed.items(), key=lambda each: (-each[1]["weight"], each[0]))
    named = ", ".join(f"{each['weight']:.2f} {escape_control(judge)}" for judge, each in heaviest)
    return f"Weighed: {named}."
