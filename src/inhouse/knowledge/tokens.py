"""Text to index terms: the same for passages and questions, in Chinese and English alike.

Chinese runs give dictionary words (search mode), character bigrams and single characters: words are precise, bigrams
find what the dictionary does not know (new names, Traditional characters), and single characters let everyday words
meet formal ones (报 and 报销). Everything else gives lightly stemmed words.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import chain, pairwise
from types import ModuleType

CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_RUN = re.compile(rf"(?P<cjk>[{CJK}]+)|[^\W_{CJK}]+(?:[.'’][^\W_{CJK}]+)*")
_VOWEL = re.compile(r"[aeiouy]")

_CHINESE = """
的 了 是 在 和 与 及 或 也 都 就 而 吗 呢 吧 啊 呀 么 之 其 被 把 让 给 对 从 到 以 于 为 由 向 着 过 得 地 这
那 哪 我 你 他 她 它 您 们 我们 你们 他们 什么 怎么 怎样 如何 哪些 哪个 哪里 多少 为什么 请问 谁 几 一个 这个
那个 是否 可以 有 没有 会 能 要 想 需要 应该 还 还是 什 些 个 是什 么是
"""
_ENGLISH = """
a an the and or but if of at by for with about to from in on into than then so as is am are was were be been being
do does did doing have has had having i me my we our us you your he him his she her it its they them their this
that these those what which who whom whose when where why how can could should would may might must will shall not
no there here please
after again any before get gets getting go got just let long many more much now out still take too until up very also
"""
_STOP_WORDS = frozenset((_CHINESE + _ENGLISH).split())


@cache
def segmenter() -> ModuleType:
    """The Chinese dictionary: a third of a second to load, so not before it is needed."""
    import rjieba

    return rjieba


def terms(text: str) -> list[str]:
    """Return the terms of a text in order, repetitions included."""
    return list(_terms(unicodedata.normalize("NFKC", text).lower()))


def _terms(text: str) -> Iterator[str]:
    for run in _RUN.finditer(text):
        yield from _chinese(run[0]) if run["cjk"] else _western(run[0])


def _chinese(run: str) -> Iterator[str]:
    bigrams = (a + b for a, b in pairwise(run))
    yield from (term for term in chain(segmenter().cut_for_search(run), bigrams, run) if term not in _STOP_WORDS)


def _western(word: str) -> Iterator[str]:
    if word not in _STOP_WORDS:
        yield stem(word)


def stem(word: str) -> str:
    """Fold the commonest English endings: `policies` and `policy`, `claimed` and `claims`, meet."""
    word = word.removesuffix("'s").removesuffix("’s")
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        root = word.removesuffix(ending)
        if root != word and len(root) > 2 and _VOWEL.search(root):
            word = root[:-1] if root[-1] == root[-2] and root[-1] not in "lsz" else root
            break
    return word.removesuffix("e") if len(word) > 3 else word
