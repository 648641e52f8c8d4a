"""The facts about a pair (`karma_monitor.explain`) in sentences for a terminal."""

from __future__ import annotations

from typing import Any

from karma.ranking.snapshot import KIN_THRESHOLD
from karma_monitor.escaping import escape_control, shortened

Facts = dict[str, Any]


def sentences(facts: Facts, characters: int) -> str:
    """The facts as text for a terminal: prompt and responses shortened to so many characters (0: whole)."""
    skill = f", skill {escape_control(facts['skill'])}" if facts["skill"] else ""
    prompt, stream = escape_control(facts["prompt_id"]), escape_control(facts["stream"])
    lines = [f"Pair {facts['pair']}: prompt {prompt} of the stream {stream}{skill}"]
    for turn in facts["messages"]:
        lines += _quoted(f"The {turn['role']} says:", turn["content"], characters)
    if facts["reference"] is not None:
        lines += _quoted("The reference answer:", facts["reference"], characters)
    for side, response in facts["responses"].items():
        known = "" if response["quality"] is None else f", quality {response['quality']:.2f} by the stream's checker"
        sample = f" (sample {response['sample'] + 1})" if response["sample"] else ""
        count = len(response["text"] or "")
        length = f"{count:,} character{'' if count == 1 else 's'}"
        heading = f"Response {side} by {escape_control(response['model'])}{sample}, {length}{known}:"
        lines += _quoted(heading, response["text"] or "", characters)
    for title, said in (
        ("Why it was formed", _formed(facts)),
        ("Why it was judged" if facts["judging"]["judged"] else "Why it was not judged", _judging(facts)),
        ("What the judges said", _verdicts(facts)),
        ("What it came to", _resolution(facts)),
    ):
        lines += ["", title, *(f"  {sentence}" for sentence in said)]
    return "\n".join(lines)


def _quoted(heading: str, text: str, characters: int) -> list[str]:
    return ["", heading, *(f"  | {line}" for line in shortened(text, characters, lines=True).split("\n"))]


def _names(facts: Facts) -> tuple[str, str]:
    """The two sides by their models' names; by a and b where one model gave both."""
    a, b = (escape_control(facts["responses"][side]["model"]) for side in "ab")
    return (a, b) if a != b else (f"a ({a})", f"b ({b})")


def _formed(facts: Facts) -> list[str]:
    formed = facts["formed"]
    a, b = _names(facts)
    why = escape_control(str(formed.get("why") or "no reason was kept"))
    said = [f"The policy {escape_control(formed['policy'])} chose it: {why}."]
    if formed.get("probability") is not None:
        said.append(f"Its chance of being drawn from the prompt's pairs was {_percent(formed['probability'])}.")
    if formed["kinship"] is None:
        said.append("Kinship: unknown, as too little is known of the two models.")
    else:
        kin = "kin" if formed["kinship"] >= KIN_THRESHOLD else "not kin"
        said.append(f"Kinship {formed['kinship']:.2f}: the chance that they are about equally competent ({kin}).")
    if formed["gap"] is not None:
        ahead = f"{a} is ahead of {b}" if formed["gap"] > 0 else f"{b} is ahead of {a}"
        expected = "level" if formed["gap"] == 0 else f"{ahead} by {abs(formed['gap']):.2f} logits"
        deviation = "" if formed["gap_deviation"] is None else f" ± {formed['gap_deviation']:.2f} (standard deviation)"
        said.append(f"Competency gap: {expected}{deviation}, after {_shared(formed)}.")
    if formed.get("win_probability") is not None:
        said.append(f"By competency alone {a} wins a decisive comparison with {_percent(formed['win_probability'])}.")
    if formed["information"] is not None:
        said.append(f"Information {formed['information']:.2f} bit: what a verdict was expected to tell (1 at most).")
    if formed["likeness"] is not None:
        said.append(
            f"Likeness {formed['likeness']:.2f}: how alike the responses are in quality and complexity (0 to 1)."
        )
    if formed["novelty"] is not None:
        said.append(f"Novelty of the prompt {formed['novelty']:.2f}: what of it no prompt before it had (0 to 1).")
    said.append(
        f"The competencies were those of version {formed['snapshot']}."
        if formed["snapshot"]
        else "No competencies had been learnt yet."
    )
    return said


def _shared(formed: Facts) -> str:
    comparisons = formed.get("comparisons")
    return f"{comparisons:.1f} shared verdicts" if comparisons else "no shared verdict"


#: What the gate's reasons mean (`karma_matching.budget.allocation`).
_GATE = {
    "informative enough": "Its information is above the threshold of the budget: such pairs are judged.",
    "at the threshold": "Its information is at the threshold of the budget, where chance decides; it was judged.",
    "audit": "Chance took it for the audit, which tells how wrong the labels are that no judge saw.",
    "the prediction is good enough": "Its information is below the threshold of the budget: the prediction will do.",
}


def _judging(facts: Facts) -> list[str]:
    judging = facts["judging"]
    a, _b = _names(facts)
    said = []
    if judging["why"]:
        why = str(judging["why"])
        said.append(_GATE.get(why, f"The gate's reason: {escape_control(why)}."))
    elif judging["probability"] >= 1.0:
        said.append("Nothing limits what is spent on judges here: every pair is judged.")
    if judging["information"] is not None:
        siblings = "with what the verdicts on the prompt's other pairs were expected to tell taken off"
        said.append(f"Information at the gate {judging['information']:.2f} bit, {siblings}.")
    said.append(f"Its chance of being judged was {_percent(judging['probability'])}.")
    if judging["predicted"] is not None:
        tie = "" if judging["predicted_tie"] is None else f", and a tie with {_percent(judging['predicted_tie'])}"
        said.append(
            f"The outcome model expected {a} to win a decisive comparison with {_percent(judging['predicted'])}{tie}."
        )
    return said


def _verdicts(facts: Facts) -> list[str]:
    a, _b = _names(facts)
    said = []
    for one in facts["verdicts"]:
        shown = "a first" if one["order"] == 0 else "b first"
        judge = f"{escape_control(one['judge'])} ({shown})"
        if one["better_a"] is None:
            said.append(f"{judge} gave no valid verdict: {shortened(one['failure'] or 'no reason', 200)}.")
        else:
            said.append(f"{judge}: {a} is better with {_percent(one['better_a'])}.")
        if one["rationale"]:
            said.append(f"  it says: {shortened(one['rationale'], 300)}")
    awaited = facts["judging"]["awaited"]
    if awaited > 0:
        said.append(f"{awaited} verdict{'s are' if awaited > 1 else ' is'} still awaited.")
    return said or ["Nothing: no judge saw it."]


def _resolution(facts: Facts) -> list[str]:
    resolution = facts["resolution"]
    if resolution is None:
        return [f"Nothing yet: its prompt is {facts['state']}."]
    a, b = _names(facts)
    if resolution["outcome"] == "decisive":
        chosen, rejected = (a, b) if resolution["chosen"] == "a" else (b, a)
        p = resolution["probability"]
        by = "the judges' verdicts" if resolution["label_source"] == "judge" else "the prediction: no judge saw it"
        certainty = "" if p is None else f", with {_percent(max(p, 1 - p))}"
        said = [f"A preference: {chosen} over {rejected}{certainty}. The label comes from {by}."]
    else:
        said = [
            {
                "tie": "A tie: the verdicts take no side. It is no preference.",
                "inconsistent": "Inconsistent: the two orders contradict each other and leave no side.",
                "unscored": f"Unscored: no valid verdict ({shortened(resolution['reason'] or 'no reason', 200)}).",
            }[resolution["outcome"]]
        ]
    if resolution["flipped"] is not None:
        both = (
            "took different sides in the two orders" if resolution["flipped"] else "took the same side in both orders"
        )
        said.append(f"Judges that saw both orders {both}.")
    if resolution["predicted"] is not None:
        said.append(f"All that was known but its own verdicts gave {a} {_percent(resolution['predicted'])}.")
    agreement = {
        True: "It agrees with the competencies: the model that was ahead won.",
        False: "It contradicts the competencies: the model that was behind won.",
    }
    if facts["agrees_with_competency"] is not None:
        said.append(agreement[facts["agrees_with_competency"]])
    return said


def _percent(share: float) -> str:
    """A share for people, with decimals only where it is nearly none or nearly all."""
    return f"{100 * share:.0f} %" if share in (0.0, 1.0) or 0.01 <= share <= 0.99 else f"{100 * share:.2f} %"
