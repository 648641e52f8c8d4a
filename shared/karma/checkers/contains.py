"""`contains`: the reference occurs in the text."""


def contains(text: str, reference: str, /) -> bool:
    """Whether the reference occurs in the text, in upper or lower case; an empty reference never does.

    Runs of white space count as one space.
    """
    wanted = " ".join(reference.split()).casefold()
    return bool(wanted) and wanted in " ".join(text.split()).casefold()
