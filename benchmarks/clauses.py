"""Measure a clause tagger beside a list of keywords on the contracts of CUAD.

    python benchmarks/clauses.py --data DIR --encoder DIR --json

DIR of --data holds master_clauses.csv of CUAD v1 (The Atticus Project, CC BY 4.0): for each of 510 contracts and 41
types the clauses that lawyers marked, not the contracts themselves. So documents are made here: the clauses of a
contract, each once, one after the other. Their order is drawn, because the file's order follows the types and would
give them away. The tagger is trained by the `tag` recipe on an encoder in the layout of Hugging Face, then exported and
served as in the product, and has to find where each clause begins and ends, and of which type it is. It gives a place
one type; a clause with several is taught as the rarest of them and judged on all.

The split is by contract: SHA-256 of its file name modulo 100 is below 70 in train, below 80 in dev, else in test.

The keywords of a type are the words and pairs of words that go with it by chi squared in the training contracts; how
many of them, and how many have to be there, is what does best on those. They are told where clauses begin and end.
"""

import argparse
import ast
import csv
import hashlib
import json
import random
import re
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from machine import facts

from inhouse.core.events import EventLog
from inhouse.models.spans import Span
from inhouse.serving.runtime import load
from inhouse.training.child import FINISHED
from inhouse.training.child import main as train
from inhouse.training.dataset import Row
from inhouse.training.evaluate_spans import evaluate_spans
from inhouse.training.spec import ARTIFACT, DATASET, EVENTS, SPEC, Spec

SHORTEST = 3
WORD = re.compile(r"[a-z]+|\d")
KEYWORDS = (1, 2, 3, 5, 8, 12, 20)
STEERING = 10
"""Contracts of dev that choose the epoch and calibrate the scores: more would only take longer."""
COVERED = 0.5
"""The tagger gives a clause a type when it marks this share of it so."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A marked place of a made document, and all types that it was given."""

    start: int
    end: int
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """The clauses of one contract, one a line."""

    name: str
    text: str
    clauses: list[Clause]

    def texts(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        for clause in self.clauses:
            yield self.text[clause.start : clause.end], clause.types


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True, help="directory with master_clauses.csv")
    options.add_argument("--encoder", type=str, help="directory of an encoder; from scratch without it")
    options.add_argument("--contracts", type=int, default=200, help="learn from so many of the training contracts")
    options.add_argument("--epochs", type=int, default=1)
    options.add_argument("--json", action="store_true", help="print one line of JSON only")
    chosen = options.parse_args()

    splits = read(chosen.data / "master_clauses.csv")
    splits["train"] = splits["train"][: chosen.contracts]
    rarity = Counter(kind for document in splits["train"] for clause in document.clauses for kind in clause.types)
    started, cpu = time.perf_counter(), time.process_time()
    config = {"base": chosen.encoder, "epochs": chosen.epochs, **SETTINGS} if chosen.encoder else {}
    with tempfile.TemporaryDirectory() as work:
        tagger = Tagger(Path(work), splits, rarity, config)
        trained_s = time.process_time() - cpu
        found = tagger.find([document.text for document in splits["test"]])
    keywords = Keywords.of(splits["train"])
    rows = table(splits["test"], found, keywords)
    report = evaluate_spans(lambda texts: found, [row_of(document, rarity) for document in splits["test"]])
    figures: dict[str, Any] = {
        "contracts": {name: len(documents) for name, documents in splits.items()},
        "types": rows,
        "tagger": summary(rows, "tagger"),
        "keywords": summary(rows, "keywords"),
        "spans": {"exact": vars_of(report.micro), "overlap": vars_of(report.overlap)},
        "train_cpu_s": round(trained_s, 1),
        "total_cpu_s": round(time.process_time() - cpu, 1),
        "total_s": round(time.perf_counter() - started, 1),
    }
    if not chosen.json:
        show(figures)
    bars = [{"name": f"clauses_{who}_macro_f1", "value": figures[who]["macro_f1"]} for who in ("tagger", "keywords")]
    print(json.dumps({"bars": bars, "figures": figures, "machine": facts()}))


SETTINGS = {"batch_size": 4, "learning_rate": 3e-4, "max_length": 128, "stride": 16, "patience": 0}


def read(path: Path) -> dict[str, list[Document]]:
    """The documents of each split, in the order of their hashes."""
    csv.field_size_limit(1 << 30)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    types = [name for name in rows[0] if name != "Filename" and not name.endswith("Answer")]
    splits: dict[str, list[Document]] = {"train": [], "dev": [], "test": []}
    for row in sorted(rows, key=lambda row: digest(row["Filename"])):
        bucket = digest(row["Filename"]) % 100
        splits["train" if bucket < 70 else "dev" if bucket < 80 else "test"].append(document_of(row, types))
    return splits


def digest(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def document_of(row: Mapping[str, str], types: Sequence[str]) -> Document:
    found: dict[str, list[str]] = defaultdict(list)
    for kind in types:
        for clause in ast.literal_eval(row[kind] or "[]"):
            if len(text := " ".join(clause.split())) >= SHORTEST and kind not in found[text]:
                found[text].append(kind)
    texts = sorted(found)
    random.Random(row["Filename"]).shuffle(texts)
    clauses, at = [], 0
    for text in texts:
        clauses.append(Clause(at, at + len(text), tuple(found[text])))
        at += len(text) + 1
    return Document(row["Filename"], "\n".join(texts), clauses)


def row_of(document: Document, rarity: Mapping[str, int], *, every: bool = True) -> Row:
    """The document as a row of a dataset: with all types of a clause, or with the rarest one only."""
    spans = [
        {"start": clause.start, "end": clause.end, "label": kind}
        for clause in document.clauses
        for kind in (clause.types if every else rarest(clause.types, rarity))
    ]
    return Row(document.name, document.text, "", content={"spans": spans})


def rarest(types: Iterable[str], rarity: Mapping[str, int]) -> list[str]:
    """The type that the fewest training clauses have; nothing where none has any."""
    return sorted((kind for kind in types if rarity[kind]), key=lambda kind: (rarity[kind], kind))[:1]


class Tagger:
    """The `tag` recipe, run as the product runs it, and its product as it is served."""

    def __init__(
        self, work: Path, splits: Mapping[str, list[Document]], rarity: Mapping[str, int], config: dict[str, Any]
    ) -> None:
        dataset = work / DATASET
        dataset.mkdir()
        (dataset / "dataset.json").write_text(json.dumps({"form": "spans"}))
        for name in ("train", "dev", "test"):
            documents = {"train": splits["train"], "dev": splits["dev"][:STEERING], "test": []}[name]
            rows = (row_of(document, rarity, every=False) for document in documents)
            lines = [json.dumps({"id": r.id, "text": r.text, "label": "", "content": r.content}) for r in rows]
            (dataset / f"{name}.jsonl").write_text("".join(line + "\n" for line in lines))
        (work / SPEC).write_text(
            Spec(recipe="tag", config=config, threads=1, checkpoint_every_s=3600).model_dump_json()
        )
        if train(work / SPEC) != FINISHED:
            raise SystemExit(EventLog(work / EVENTS).read()[-1]["message"])
        self._model = load(work / ARTIFACT)

    def find(self, texts: Sequence[str]) -> list[list[Span]]:
        found = [self._model.predict([text])[0]["spans"] for text in texts]
        return [[Span(one["start"], one["end"], one["label"], one["score"]) for one in spans] for spans in found]


@dataclass(frozen=True, slots=True)
class Keywords:
    """For each type its words, and how many of them make a clause one of that type."""

    lists: dict[str, tuple[list[str], int]]

    @classmethod
    def of(cls, documents: Iterable[Document]) -> "Keywords":
        clauses = [(words_of(text), types) for document in documents for text, types in document.texts()]
        seen = Counter(word for words, _ in clauses for word in words)
        common = {word for word, count in seen.items() if count >= 3}
        every = sorted({kind for _, types in clauses for kind in types})
        return cls({kind: cls._choose(kind, clauses, seen, common) for kind in every})

    @staticmethod
    def _choose(
        kind: str, clauses: Sequence[tuple[set[str], tuple[str, ...]]], seen: Counter[str], common: set[str]
    ) -> tuple[list[str], int]:
        total, own = len(clauses), [words for words, types in clauses if kind in types]
        within = Counter(word for words in own for word in words if word in common)
        ranked = sorted(within, key=lambda word: (-chi_squared(within[word], seen[word], len(own), total), word))
        best: tuple[float, int, list[str], int] = (-1.0, 0, [], 1)
        for size in KEYWORDS:
            chosen = set(ranked[:size])
            hits = [(len(chosen & words), kind in types) for words, types in clauses]
            for needed in range(1, min(size, 4) + 1):
                told = sum(count >= needed for count, _ in hits)
                right = sum(count >= needed and is_own for count, is_own in hits)
                best = max(best, (2 * right / (told + len(own)), -size, ranked[:size], needed))
        return best[2], best[3]

    def types(self, text: str) -> set[str]:
        words = words_of(text)
        return {kind for kind, (chosen, needed) in self.lists.items() if len(words.intersection(chosen)) >= needed}


def words_of(text: str) -> set[str]:
    words = WORD.findall(text.lower())
    return {*words, *(f"{one} {two}" for one, two in pairwise(words))}


def chi_squared(both: int, word: int, kind: int, total: int) -> float:
    """How far from chance it is that a word and a type come together; 0 where they avoid each other."""
    gap = both * total - word * kind
    return total * gap**2 / (word * kind * (total - word) * (total - kind)) if gap > 0 and word < total else 0.0


def table(documents: Sequence[Document], found: Sequence[Sequence[Span]], keywords: Keywords) -> dict[str, Any]:
    """Precision and recall for each type of clause: how many clauses have it, were given it, and rightly so."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for document, spans in zip(documents, found, strict=True):
        for clause in document.clauses:
            marked: Counter[str] = Counter()
            for span in spans:
                marked[span.label] += max(0, min(span.end, clause.end) - max(span.start, clause.start))
            told = {kind for kind, size in marked.items() if size >= COVERED * (clause.end - clause.start)}
            said = {"tagger": told, "keywords": keywords.types(document.text[clause.start : clause.end])}
            for kind in clause.types:
                counts[kind]["clauses"] += 1
            for who, types in said.items():
                for kind in types:
                    counts[kind][f"{who} told"] += 1
                    counts[kind][f"{who} right"] += kind in clause.types
    return {kind: row(count) for kind, count in sorted(counts.items(), key=lambda item: -item[1]["clauses"])}


def row(count: Counter[str]) -> dict[str, Any]:
    said = {}
    for who in ("tagger", "keywords"):
        told, right, true = count[f"{who} told"], count[f"{who} right"], count["clauses"]
        said[who] = {
            "precision": share(right, told),
            "recall": share(right, true),
            "f1": share(2 * right, told + true),
            "told": told,
            "right": right,
        }
    return {"clauses": count["clauses"], **said}


def summary(rows: Mapping[str, Any], who: str) -> dict[str, float]:
    right, told = (sum(row[who][name] for row in rows.values()) for name in ("right", "told"))
    true = sum(row["clauses"] for row in rows.values())
    judged = [row[who]["f1"] for row in rows.values() if row["clauses"]]
    return {
        "precision": share(right, told),
        "recall": share(right, true),
        "micro_f1": share(2 * right, told + true),
        "macro_f1": round(sum(judged) / len(judged), 4),
    }


def share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def vars_of(score: Any) -> dict[str, float]:
    return {name: round(getattr(score, name), 4) for name in ("precision", "recall", "f1")}


def show(figures: Mapping[str, Any]) -> None:
    print("| type | clauses | tagger P | R | keywords P | R |\n|---|---|---|---|---|---|")
    for kind, one in figures["types"].items():
        cells = [f"{100 * one[who][name]:.0f}" for who in ("tagger", "keywords") for name in ("precision", "recall")]
        print(f"| {kind} | {one['clauses']} | {' | '.join(cells)} |")
    print({name: value for name, value in figures.items() if name != "types"})


if __name__ == "__main__":
    main()
