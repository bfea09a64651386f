"""Measure training on one thread: how fast loops learn beside others, and how good a tuned classifier is.

python benchmarks/training.py --json --data CLINC150 --encoder ENCODER              all bars
python benchmarks/training.py --json --train FILE --test FILE --encoder ENCODER     accuracy on any CSV of text,label

CLINC150 holds `data_full.json` of github.com/clinc/oos-eval; ENCODER is a Hugging Face directory, such as that of
all-MiniLM-L6-v2. The threshold for out of scope is chosen on the val and oos_val rows alone. Rates are per second of
processor time; accuracies are medians over three seeds.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import training_classify
from machine import facts

CLINC = ("accuracy", "inscope_at_threshold", "oos_recall", "cpu_s")
PARTS = ("classify", "lora")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", action="store_true", help="print one line of JSON only")
    options.add_argument("--data", type=Path, help="directory of CLINC150")
    options.add_argument("--encoder", type=Path, help="directory of a Hugging Face encoder")
    options.add_argument("--train", type=Path, help="CSV of text,label to learn from")
    options.add_argument("--test", type=Path, help="CSV of text,label to be judged on")
    options.add_argument("--only", choices=PARTS, help="measure one part")
    chosen = options.parse_args()
    if bool(chosen.train) != bool(chosen.test) or (chosen.train and not chosen.encoder):
        options.error("--train, --test and --encoder go together")
    if not chosen.train and chosen.only != "lora" and not (chosen.data and chosen.encoder):
        options.error("give --data and --encoder")

    figures, bars = _measure(chosen)
    if not chosen.json:
        print(json.dumps(figures, indent=2))
    print(json.dumps({"bars": bars, "figures": figures, "machine": facts()}))


def _measure(chosen: argparse.Namespace) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if chosen.train:
        found = training_classify.measure_files(chosen.train, chosen.test, chosen.encoder)
        return {"files": found}, _bars(found, ["accuracy"])
    figures: dict[str, Any] = {}
    bars: list[dict[str, Any]] = []
    if chosen.only != "lora":
        figures["classify"] = found = training_classify.measure(chosen.data, chosen.encoder)
        bars += _bars(found, ["speed_vs_tutorial", "speed_vs_trainer", *(f"clinc_{name}" for name in CLINC)])
    if chosen.only != "classify":
        import training_lora

        figures["lora"] = found = training_lora.measure()
        bars += _bars(found, ["lora_vs_trl", "lora_vs_trl_packed"])
    return figures, bars


def _bars(found: dict[str, Any], names: list[str]) -> list[dict[str, Any]]:
    return [{"name": name, "value": found[name]} for name in names]


if __name__ == "__main__":
    main()
