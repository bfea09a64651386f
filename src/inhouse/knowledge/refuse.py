"""Decide whether what was found carries an answer at all.

The measure is coverage: the best passage's BM25 score as a share of the best possible score of the question, with
unknown words counted. One threshold travels across languages and bases, which raw scores do not; a base with known
answerable questions can have its own.
"""

from collections.abc import Sequence

DEFAULT_THRESHOLD = 0.1
"""Low on purpose: everyday wording shares few terms with policy documents (see benchmarks/retrieval.py), and a wrong
refusal costs more than a weak passage whose source is shown. Questions worded like the text allow more: 0.2 to 0.3.
"""


def is_answerable(coverage: float, threshold: float = DEFAULT_THRESHOLD) -> bool:
    return coverage >= threshold


def calibrate(coverages: Sequence[float], false_refusals: float = 0.05) -> float:
    """Return the threshold that refuses at most this share of questions known to be answerable."""
    ordered = sorted(coverages)
    return ordered[int(len(ordered) * false_refusals)] if ordered else DEFAULT_THRESHOLD
