"""`exact`: the text is the reference."""


def exact(text: str, reference: str, /) -> bool:
    """Whether the whole text is the reference, apart from white space at both ends."""
    return text.strip() == reference.strip()
