"""The process that works on a model version: `python -m inhouse.training.versions.child WORK.json`.

It reads what to do, does it with one thread, and leaves the answer beside it. The server never loads a network for it.
"""

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inhouse.core.errors import InhouseError

ANSWER = "answer.json"
Work = dict[str, Any]
_log = logging.getLogger(__name__)


def main(path: Path) -> int:
    """Do the work; an error that was foreseen becomes the answer."""
    work = json.loads(path.read_bytes())
    _calm()
    try:
        answer = {"done": _TASKS[work["task"]](work)}
    except InhouseError as error:
        answer = {"failed": {"message": error.message, "hint": error.hint, "code": error.code}}
    except Exception as error:
        _log.exception("The work on a version failed unexpectedly.")
        answer = {"failed": {"message": f"{type(error).__name__}: {error}", "hint": "", "code": "unexpected"}}
    path.with_name(ANSWER).write_text(json.dumps(answer, ensure_ascii=False), encoding="utf-8")
    return 0


def _calm() -> None:
    """One thread, so that figures compare and the server keeps its processor."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    warnings.simplefilter("ignore")


def _write(work: Work) -> dict[str, Any]:
    from inhouse.training.variants import write_variant

    write_variant(work["variant"], Path(work["artifact"]), Path(work["directory"]))
    return {}


def _int4(work: Work) -> dict[str, Any]:
    from inhouse.training.variants import write_int4

    rows = Path(work["rows"]) if work["rows"] else None
    costs = write_int4(Path(work["artifact"]), Path(work["directory"]), rows)
    return {
        "loss": costs["loss_points"],
        "perplexity": round(costs["perplexity"], 4),
        "perplexity_before": round(costs["perplexity_before"], 4),
        "measured_on": costs["measured_on"],
        "tokens": costs["tokens"],
        "size_mb": round(costs["size_bytes"] / 1e6, 3),
        "size_mb_before": round(costs["size_bytes_before"] / 1e6, 3),
    }


def _measure(work: Work) -> dict[str, Any]:
    """Figures of a variant; against those of the reference, where it has been measured."""
    import numpy as np

    from inhouse.training.versions.judge import read_cases
    from inhouse.training.versions.measure import compare, measure

    rows = [case.row for case in read_cases(Path(work["rows"]))]
    figures, outputs = measure(work["variant"], Path(work["directory"]), rows)
    if work.get("reference"):
        compare(work["kind"], figures, work["reference"], outputs, np.load(work["outputs"]))
    else:
        np.save(work["outputs"], outputs)
    return figures


def _evaluate(work: Work) -> dict[str, Any]:
    from inhouse.training.versions.judge import judge, read_cases

    rows = Path(work["rows"])
    golden = [case for split in sorted(rows.glob("*.jsonl")) for case in read_cases(split, only_golden=True)]
    cases = read_cases(rows / f"{work['split']}.jsonl")
    return judge(Path(work["directory"]), cases, golden, seed=work.get("seed", 0))


def _import(work: Work) -> dict[str, Any]:
    from inhouse.training.versions.imports import import_directory

    return import_directory(Path(work["source"]), Path(work["directory"]), kind=work["kind"], lineage=work["lineage"])


_TASKS: dict[str, Callable[[Work], dict[str, Any]]] = {
    "write": _write,
    "int4": _int4,
    "measure": _measure,
    "evaluate": _evaluate,
    "import": _import,
}


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    sys.exit(main(Path(sys.argv[1])))
