"""Measure retrieval and refusal on public question sets and on the help desk example.

    python benchmarks/retrieval.py --json --zh DIR --en DIR

DIR holds corpus.jsonl ({"id", "title", "text"}) and queries.jsonl ({"text", "pos", "answerable"}), for example made
from CMRC 2018 (Chinese) and SQuAD 2.0 (English). Out-of-base questions: half of the titles are left out of the base.
"""

import argparse
import json
import os
import platform
import random
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from statistics import median

from inhouse.knowledge.evaluate import Found, auroc, evaluate, load_gold
from inhouse.knowledge.index import Index, Segment, Vocabulary
from inhouse.knowledge.refuse import DEFAULT_THRESHOLD, calibrate, is_answerable
from inhouse.knowledge.sandbox import Sandbox
from inhouse.knowledge.splitter import split

HELPDESK = Path(__file__).resolve().parent.parent / "examples" / "helpdesk"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", action="store_true", help="print one line of JSON only")
    options.add_argument("--zh", type=Path, help="Chinese question set")
    options.add_argument("--en", type=Path, help="English question set")
    options.add_argument("--helpdesk", type=Path, default=HELPDESK, help="directory with policies/ and gold*.jsonl")
    chosen = options.parse_args()

    figures = {name: measure_set(path) for name in ("zh", "en") if (path := getattr(chosen, name)) is not None}
    bars = [{"name": f"{name}_recall_at_1", "value": found["recall_at_1"]} for name, found in figures.items()]
    bars += [{"name": f"{name}_coverage_auroc", "value": found["coverage_auroc"]} for name, found in figures.items()]
    if (chosen.helpdesk / "policies").is_dir():
        figures["helpdesk"] = helpdesk = measure_helpdesk(chosen.helpdesk)
        bars += [{"name": f"helpdesk_{name}", "value": helpdesk[name]} for name in HELPDESK_BARS]
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    if not chosen.json:
        print(json.dumps(figures, indent=2))
    print(json.dumps({"bars": bars, "figures": figures, "machine": machine}))


HELPDESK_BARS = ("recall_at_3", "page_recall_at_3", "refused_answerable", "refused_unanswerable")


def measure_set(directory: Path) -> dict[str, float]:
    corpus, queries = read_lines(directory / "corpus.jsonl"), read_lines(directory / "queries.jsonl")
    queries = [query for query in queries if query["answerable"]]
    index = index_of((row["id"], f"{row['title']}\n{row['text']}") for row in corpus)
    milliseconds, ranks = [], []
    for query in queries:
        started = time.perf_counter()
        hits = index.search(query["text"], 10)
        milliseconds.append((time.perf_counter() - started) * 1000)
        ranks.append(next((rank for rank, hit in enumerate(hits, 1) if hit.chunk_id in query["pos"]), 0))
    inside, outside = coverages(corpus, queries)
    return {
        "passages": len(index),
        "questions": len(queries),
        "recall_at_1": share(rank == 1 for rank in ranks),
        "recall_at_5": share(0 < rank <= 5 for rank in ranks),
        "mrr_at_10": share(1 / rank if rank else 0 for rank in ranks),
        "coverage_auroc": round(auroc(inside, outside), 4),
        "threshold_at_5_percent": round(calibrate(inside), 3),
        "refused_inside_at_default": share(value < DEFAULT_THRESHOLD for value in inside),
        "refused_outside_at_default": share(value < DEFAULT_THRESHOLD for value in outside),
        "search_ms_median": round(median(milliseconds), 3),
    }


def coverages(corpus: list[dict], queries: list[dict]) -> tuple[list[float], list[float]]:
    """Index half of the titles and return the coverage of questions on these, and on the others."""
    titles = sorted({row["title"] for row in corpus})
    random.Random(0).shuffle(titles)
    kept = set(titles[: len(titles) // 2])
    kept_ids = {row["id"] for row in corpus if row["title"] in kept}
    index = index_of((row["id"], f"{row['title']}\n{row['text']}") for row in corpus if row["id"] in kept_ids)
    inside, outside = [], []
    for query in queries:
        (inside if query["pos"][0] in kept_ids else outside).append(best_coverage(index, query["text"]))
    return inside, outside


def measure_helpdesk(directory: Path) -> dict[str, float]:
    """Parse, split, index and ask exactly as a server does."""
    gold = [one for path in sorted(directory.glob("gold*.jsonl")) for one in load_gold(path)]
    places: dict[str, tuple[str, int | None]] = {}
    texts: list[tuple[str, str]] = []
    sandbox = Sandbox()
    for path in sorted((directory / "policies").iterdir()):
        _, parsed = sandbox.parse(path.name, path.read_bytes())
        for draft in split(parsed.blocks):
            chunk_id = f"{path.name}:{draft.start}"
            places[chunk_id] = (path.name, draft.page)
            texts.append((chunk_id, "\n".join([*draft.heading, draft.text])))
    sandbox.close()
    index = index_of(texts)

    def search(question: str) -> Found:
        hits = index.search(question, 4)
        coverage = hits[0].coverage if hits else 0.0
        return Found([places[hit.chunk_id] for hit in hits], coverage, is_answerable(coverage))

    report = {name: round(value, 4) for name, value in asdict(evaluate(gold, search)).items()}
    return {"documents": len({document for document, _ in places.values()}), "passages": len(index), **report}


def index_of(texts: Iterable[tuple[str, str]]) -> Index:
    vocabulary = Vocabulary()
    return Index(vocabulary, {("all", 1): Segment.of(vocabulary, texts)}, 1)


def best_coverage(index: Index, question: str) -> float:
    return max((hit.coverage for hit in index.search(question, 1)), default=0.0)


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def share(values: Iterable[float]) -> float:
    counted = [float(value) for value in values]
    return round(sum(counted) / len(counted), 4)


if __name__ == "__main__":
    main()
