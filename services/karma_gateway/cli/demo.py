"""`karma demo`."""


def demo() -> None:
    """Placeholder."""
