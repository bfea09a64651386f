"""Mixing datasets by ratio."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from inhouse.core.errors import Invalid
from inhouse.data.examples import Example, key, question
from inhouse.data.split import SPLITS


class NotEnoughRows(Invalid):
    """A dataset has fewer training rows than its share asks for."""


class BadShares(Invalid):
    """The shares cannot be those of a mix."""


@dataclass(frozen=True, slots=True)
class Ingredient:
    """Rows of a dataset version, and which share of the training rows comes from them."""

    reference: str
    rows: Sequence[Example]
    share: float


@dataclass(frozen=True, slots=True)
class Mixed:
    """The rows; how many training rows came from where; how many were left out since they repeat or would leak."""

    rows: list[Example]
    taken: dict[str, int]
    repeated: int
    leaking: int


def mix(
    ingredients: Sequence[Ingredient],
    form: str,
    *,
    size: int | None = None,
    seed: int = 0,
    held: Sequence[Example] = (),
) -> Mixed:
    """Training rows in these shares, as many as there can be or `size` of them; the same for the same seed.

    Held-out rows all stay held out, `held` those of an earlier mix; no training row asks what one of them asks.
    Of rows that say the same the first dataset's counts.
    """
    _check(ingredients)
    kept_out = _held_out([held, *(one.rows for one in ingredients)], form)
    asked = {question(row, form) for row in kept_out}
    pools: list[list[Example]] = []
    seen: set[str] = set()
    repeated = leaking = 0
    for one in ingredients:
        pool: list[Example] = []
        for row in (row for row in one.rows if row.split == "train"):
            is_leak, is_repeated = question(row, form) in asked, key(row, form) in seen
            leaking += is_leak
            repeated += is_repeated and not is_leak
            if not is_leak and not is_repeated:
                seen.add(key(row, form))
                pool.append(row)
        pools.append(sorted(pool, key=lambda row: hashlib.sha256(f"{seed}\0{row.id}".encode()).digest()))
    counts = _counts(ingredients, [len(pool) for pool in pools], size)
    train = [row for pool, count in zip(pools, counts, strict=True) for row in pool[:count]]
    taken: dict[str, int] = {}
    for one, count in zip(ingredients, counts, strict=True):
        taken[one.reference] = taken.get(one.reference, 0) + count
    return Mixed([*train, *kept_out], taken, repeated, leaking)


def _check(ingredients: Sequence[Ingredient]) -> None:
    if any(one.share <= 0 for one in ingredients):
        raise BadShares("A share has to be more than 0.", hint="Leave the dataset out instead.")
    total = sum(one.share for one in ingredients)
    if not (abs(total - 1) < 1e-6 or abs(total - 100) < 1e-4):
        raise BadShares(f"The shares add up to {total:g}.", hint="They have to be 1 (or 100) together.")


def _counts(ingredients: Sequence[Ingredient], available: Sequence[int], size: int | None) -> list[int]:
    """Whole numbers in the shares. What rounding leaves goes where most was cut off, and to the first of equals."""
    total = sum(Fraction(str(one.share)) for one in ingredients)
    shares = [Fraction(str(one.share)) / total for one in ingredients]
    most = min(int(count / share) for share, count in zip(shares, available, strict=True))
    wanted = most if size is None else size
    counts = [int(wanted * share) for share in shares]
    by_loss = sorted(range(len(shares)), key=lambda at: counts[at] - wanted * shares[at])
    for at in by_loss[: wanted - sum(counts)]:
        counts[at] += 1
    for one, count, there in zip(ingredients, counts, available, strict=True):
        if count > there or not count:
            raise NotEnoughRows(
                f"{one.reference} would have to give {count:,} training rows and has {there:,} that can be used.",
                hint=f"With these shares the mix can have {most:,} rows.",
            )
    return counts


def _held_out(sources: Sequence[Sequence[Example]], form: str) -> list[Example]:
    """Every held-out row once, in the most held-out split that any source has it in."""
    found: dict[str, Example] = {}
    place: dict[str, str] = {}
    for row in (row for rows in sources for row in rows if row.split != "train"):
        found.setdefault(key(row, form), row)
        asked = question(row, form)
        place[asked] = max(place.get(asked, "dev"), row.split, key=SPLITS.index)
    return [row.into(place[question(row, form)]) for row in found.values()]
