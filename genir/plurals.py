"""Counts with their noun in the singular or the plural."""


def counted(count: int, one: str, more: str = "") -> str:
    """Return a count with its noun, e.g. ``1 document`` or ``2,000 documents``.

    Args:
        one: The words after a count of 1, for example "query is" with more = "queries are".
        more: The words after other counts. Default: `one` with an s.
    """
    return f"{count:,} {one if count == 1 else more or one + 's'}"
