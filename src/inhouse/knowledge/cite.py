"""Check citations: is a quoted sentence really in the passage?"""

import unicodedata


def locate(quote: str, passage: str) -> tuple[int, int] | None:
    """Return where the passage says the quote (start and end offset), or None.

    White space, letter case and width don't count; words and figures do.
    """
    needle, _ = _folded(quote)
    haystack, origins = _folded(passage)
    found = haystack.find(needle) if needle else -1
    if found < 0:
        return None
    return origins[found], origins[found + len(needle) - 1] + 1


def _folded(text: str) -> tuple[str, list[int]]:
    """Return the text reduced to what counts, and for each of its characters the place it came from."""
    pairs = [
        (folded, place)
        for place, char in enumerate(text)
        for folded in unicodedata.normalize("NFKC", char).casefold()
        if not folded.isspace()
    ]
    return "".join(char for char, _ in pairs), [place for _, place in pairs]
