"""The verdict on a chaos run, from the database and from the endpoint's own log; the pipeline is not asked."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import create_engine, text

from tests.acceptance.chaos_faults import Fault

#: A call that was answered so shortly before a fault cannot have been recorded.
_JUST_ANSWERED_S = 0.25

_BASE_S = 10
_ENOUGH = 0.9
_SMOOTH_S = 3

_RESPONSES = "SELECT p.prompt_id, r.model, r.created_at FROM responses r JOIN prompts p ON p.id = r.prompt"
_VERDICTS = (
    "SELECT p.prompt_id, CASE WHEN v.shown = 0 THEN a.model ELSE b.model END, v.created_at FROM verdicts v "
    "JOIN pairs x ON x.id = v.pair JOIN prompts p ON p.id = x.prompt "
    "JOIN responses a ON a.id = x.response_a JOIN responses b ON b.id = x.response_b"
)


def calls_verdict(url: str, log: Path, faults: Sequence[Fault]) -> dict[str, Any]:
    """`calls` that the endpoint received; `repeated`, those beyond the first that no call in flight excuses."""
    recorded = _recorded_at(url)
    by_key: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in log.read_text().splitlines():
        call = json.loads(line)
        kind = "judge" if call["model"] == "judge" else "generate"
        by_key[kind, call["prompt"], call["first"] if kind == "judge" else call["model"]].append(call)
    repeats, excused = 0, Counter[str]()
    unexcused: list[dict[str, Any]] = []
    for key, calls in by_key.items():
        calls.sort(key=lambda call: call["received_at"])
        for place, call in enumerate(calls[1:], start=1):
            repeats += 1
            fault = _excuse(calls[:place], faults, recorded.get(key))
            if fault is not None:
                excused[fault.kind] += 1
            else:
                unexcused.append({"key": key, "at": call["received_at"], "before": calls[place - 1]["answered_at"]})
    return {
        "calls": sum(len(calls) for calls in by_key.values()),
        "asked": len(by_key),
        "in_flight": repeats - len(unexcused),
        "repeated": len(unexcused),
        "in_flight_by_fault": dict(excused),
        "repeats": unexcused,
    }


def _excuse(before: Sequence[Mapping[str, Any]], faults: Sequence[Fault], recorded_at: float | None) -> Fault | None:
    """The fault at which an earlier call was in flight, if there was one."""
    for fault in faults:
        for call in before:
            if call["received_at"] > fault.began_at:
                continue
            if call["answered_at"] + _JUST_ANSWERED_S > fault.began_at:
                return fault
            if fault.destroys_redis and (recorded_at is None or recorded_at > fault.began_at):
                return fault
    return None


def _recorded_at(url: str) -> dict[tuple[str, str, str], float]:
    found = {}
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        for kind, query in (("generate", _RESPONSES), ("judge", _VERDICTS)):
            for prompt, model, created_at in connection.execute(text(query)):
                found[kind, prompt, model] = created_at
    engine.dispose()
    return found


def ends(url: str) -> list[float]:
    """When prompts ended."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        found = list(connection.execute(text("SELECT ended_at FROM prompts WHERE ended_at IS NOT NULL")).scalars())
    engine.dispose()
    return found


def recovery_s(fault: Fault, until: float, moments: Iterable[float], fed: float) -> float | None:
    """Seconds from the end of a fault until the rate is back at 90 % of what it was before; None: not by `until`.

    The rate is that of ended prompts over three seconds; what it was before is the median of ten seconds, or the rate
    at which prompts were fed where a backlog of the fault before was just being worked off.
    """
    per_second = Counter(int(moment // 1) for moment in moments)
    base = min(fed, median(per_second[int(fault.began_at) - back] for back in range(1, _BASE_S + 1)))
    after = int(fault.ended_at)
    for second in range(after, int(until) + 1):
        window = [per_second[second - back] for back in range(_SMOOTH_S)]
        if sum(window) / _SMOOTH_S >= _ENOUGH * base:
            return max(0.0, float(second + 1) - fault.ended_at) if second > after else 0.0
    return None
