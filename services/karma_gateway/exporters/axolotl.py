"""`axolotl`: what axolotl's strategy `chat_template.default` for DPO reads.

`messages` is the prompt, `chosen` and `rejected` are one turn each, as `{role, content}`. Axolotl renders an answer
after the user turn `[[dummy_message]]` and looks for its text in what the template made. So white space around it is
not written (many templates trim it, and a text that is not found leaves one character of the answer), and an answer
that the rendered frame contains too (`me`, `user`) has no place: it would be cut at the wrong spot.
"""

from __future__ import annotations

from typing import Any

from karma.errors import UnrepresentableError
from karma.extraction.template_frames import is_in_a_frame
from karma_gateway.exporters import (
    DEVELOPERS,
    PLAIN_CHAT,
    SPEAKERS,
    TOOLS,
    Format,
    Row,
    prompt_of,
)


def _columns(row: Any) -> Row:
    """One preference whose answers axolotl finds again."""
    texts = {"chosen": row.chosen_text.strip(), "rejected": row.rejected_text.strip()}
    if texts["chosen"] == texts["rejected"]:
        raise UnrepresentableError("responses that differ in outer white space only")
    if any(map(is_in_a_frame, texts.values())):
        raise UnrepresentableError("responses that stand in the frame of a chat template too, such as `me` or `user`")
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in prompt_of(row)]
    return {
        "messages": turns,
        **{side: {"role": "assistant", "content": text} for side, text in texts.items()},
    }


axolotl = Format(
    {"messages": PLAIN_CHAT, "chosen": PLAIN_CHAT[0], "rejected": PLAIN_CHAT[0]},
    _columns,
    (TOOLS, SPEAKERS, DEVELOPERS),
    note="white space around responses is not written: axolotl loses a response that its chat template trims",
)
