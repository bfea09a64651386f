"""Measure the answers of the help desk example, through the whole app, on questions with known places.

python benchmarks/helpdesk.py --json                        on a private server, set up for this
python benchmarks/helpdesk.py --json --url URL --key KEY    on a server that has the example
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from machine import facts

from inhouse.cli.helpdesk import MODEL, NAME, Helpdesk, set_up
from inhouse.cli.private import private_server
from inhouse.client import Client
from inhouse.knowledge.evaluate import Gold, load_gold

BARS = ("right_document", "right_page", "refused_unanswerable", "wrongly_refused")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", action="store_true", help="print one line of JSON only")
    options.add_argument("--url", help="a running server that has the example")
    options.add_argument("--key", help="an API key of that server")
    chosen = options.parse_args()
    if bool(chosen.url) != bool(chosen.key):
        options.error("--url and --key go together")

    gold = [one for path in sorted(Helpdesk().directory.glob("gold*.jsonl")) for one in load_gold(path)]
    with server(chosen.url, chosen.key) as client:
        figures = measure(client, gold)
    bars = [{"name": name, "value": figures[name]} for name in BARS]
    if not chosen.json:
        print(json.dumps(figures, indent=2))
    print(json.dumps({"bars": bars, "figures": figures, "machine": facts()}))


@contextmanager
def server(url: str | None, key: str | None) -> Iterator[Client]:
    """The named server, or a private one with the example on it."""
    if url and key:
        with Client(url, key) as client:
            yield client
        return
    with private_server() as (private_url, private_key), Client(private_url, private_key) as client:
        set_up(private_url, private_key, lambda _: None)
        yield client


def measure(client: Client, gold: Sequence[Gold]) -> dict[str, Any]:
    """Ask every question once. An answer without a source is a refusal; a source counts only when it is cited."""
    asked = [(one, client.apps.chat(NAME, one.question)["sources"]) for one in gold]
    answerable = [(one, sources) for one, sources in asked if one.document]
    unanswerable = [sources for one, sources in asked if not one.document]
    return {
        "answerable": len(answerable),
        "unanswerable": len(unanswerable),
        "right_document": share(one.document in {name for name, _ in cited(sources)} for one, sources in answerable),
        "right_page": share((one.document, one.page) in cited(sources) for one, sources in answerable),
        "refused_unanswerable": share(not sources for sources in unanswerable),
        "wrongly_refused": share(not sources for _, sources in answerable),
        "held_out_accuracy": client.models.get(MODEL)["versions"][0]["metrics"]["accuracy"],
    }


def cited(sources: Sequence[Any]) -> set[tuple[str, int | None]]:
    return {(source["document"], source["page"]) for source in sources if source["cited"]}


def share(verdicts: Iterable[bool]) -> float:
    counted = list(verdicts)
    return round(sum(counted) / len(counted), 4) if counted else 0.0


if __name__ == "__main__":
    main()
