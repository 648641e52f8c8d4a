"""Conditions on the state of prompts, as the indexes have them: no index has the state itself."""

from __future__ import annotations

from sqlalchemy import ColumnElement

from karma.store.schema import prompts

#: The states of prompts within the window.
IN_FLIGHT = ("dispatched", "answered", "matched")
STATES = ("accepted", *IN_FLIGHT, "done", "dead")

IS_ENDED = prompts.c.ended_at.is_not(None)
IS_WAITING = prompts.c.ended_at.is_(None) & (prompts.c.admitted == 0)  # `accepted`
IS_IN_FLIGHT = prompts.c.ended_at.is_(None) & (prompts.c.admitted == 1)
IS_DEAD = prompts.c.error.is_not(None) & (prompts.c.state == "dead")
IS_DONE = IS_ENDED & (prompts.c.state == "done")


def is_in(state: str) -> ColumnElement[bool]:
    """Whether a prompt is in a state."""
    if state in IN_FLIGHT:
        return IS_IN_FLIGHT & (prompts.c.state == state)
    return {"accepted": IS_WAITING, "done": IS_DONE, "dead": IS_DEAD}[state]
