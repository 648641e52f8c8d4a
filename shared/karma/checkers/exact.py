"""`exact`: the text is the reference."""

from karma.extraction.markup import without_end_tokens
from karma.llm.reasoning import split_reasoning


def exact(text: str, reference: str, /) -> bool:
    """Whether the text is the reference, apart from white space at both ends, reasoning and end-of-text tokens."""
    wanted = reference.strip()
    return text.strip() == wanted or without_end_tokens(split_reasoning(text)[0]).strip() == wanted
