"""Conditions on the state of prompts, as the indexes have them: no index has the state itself."""

from __future__ import annotations

from sqlalchemy import ColumnElement, SmallInteger, literal_column

from karma.store.schema import prompts

#: The states of prompts within the window.
IN_FLIGHT = ("dispatched", "answered", "matched")
STATES = ("accepted", *IN_FLIGHT, "done", "dead")

# The numbers are written into the statements: how many prompts wait and how many are in flight differs by thousands,
# and a plan for any number would read all of them.
_NO, _YES = (literal_column(number, SmallInteger) for number in "01")

IS_ENDED = prompts.c.ended_at.is_not(None)
IS_WAITING = prompts.c.ended_at.is_(None) & (prompts.c.admitted == _NO)  # `accepted`
IS_IN_FLIGHT = prompts.c.ended_at.is_(None) & (prompts.c.admitted == _YES)
IS_DEAD = prompts.c.error.is_not(None) & (prompts.c.state == "dead")
IS_DONE = IS_ENDED & (prompts.c.state == "done")


def is_in(state: str) -> ColumnElement[bool]:
    """Whether a prompt is in a state."""
    if state in IN_FLIGHT:
        return IS_IN_FLIGHT & (prompts.c.state == state)
    return {"accepted": IS_WAITING, "done": IS_DONE, "dead": IS_DEAD}[state]
