"""What chat templates in common use put before the answer to one turn of the user.

Axolotl renders an answer after the turn `[[dummy_message]]` and looks for its text in what the template made: a text
that stands in the frame too is found there.
"""

from __future__ import annotations

_FRAMES = (
    "<s><|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n[[dummy_message]]<|im_end|>\n<|im_start|>assistant\n",
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n[[dummy_message]]<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "<s>[INST] [[dummy_message]] [/INST]",
    "<bos><start_of_turn>user\n[[dummy_message]]<end_of_turn>\n<start_of_turn>model\n",
)


def is_in_a_frame(text: str) -> bool:
    """Whether a text stands in the frame of a template."""
    return any(text in frame for frame in _FRAMES)
