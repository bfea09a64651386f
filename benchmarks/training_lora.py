"""Measure how fast LoRA learns on this processor: our recipe `sft` beside TRL's SFTTrainer, in real tokens a second.

python benchmarks/training_lora.py --json

A model of 41 million random weights in Qwen2's shape reads rows of lognormal length, about 104 tokens on average, eight
a step or packed into rows of 512; r is 8 on all linear layers. All contestants learn the same rows once, on one thread,
each in a process of its own and in turn. TRL lives in an environment that the script makes and keeps under --peers.
Time is processor time without the first step, tokens are those that are no padding.
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from machine import facts
from programs import CannotRun, environment, tell

ROWS, ROUNDS, BATCH, LONGEST, WORDS = 96, 2, 8, 512, 8000
MEDIAN_LENGTH, SPREAD = 66, 1.0
PEERS = Path.home() / ".cache" / "inhouse-bench" / "trl"
WITH_TRL = (("torch==2.13.0",), ("trl==1.16.0", "peft==0.21.2", "transformers==5.23.0"))
"""Torch first: pip takes a build for processors where it is pointed to one, and the rest asks for any."""
SHAPE = {
    "vocab_size": WORDS,
    "hidden_size": 512,
    "intermediate_size": 1504,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
}
LORA = {"r": 8, "alpha": 16}
RATE = 2e-4
BARS = {"lora_vs_trl": 2.3, "lora_vs_trl_packed": 1.1}
CONTESTANTS = ("ours", "trl", "trl_packed")


def measure(*, peers: Path = PEERS, rounds: int = ROUNDS, rows: int = ROWS) -> dict[str, Any]:
    """Real tokens per second of processor time of each contestant, and how many times theirs ours is."""
    pythons = {"ours": Path(sys.executable)}
    pythons["trl"] = pythons["trl_packed"] = trl_python(peers)
    with tempfile.TemporaryDirectory() as directory:
        _run(Path(sys.executable), "base", Path(directory), rows)
        found: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
        for number in range(rounds):
            for name in CONTESTANTS:
                rate = _run(pythons[name], name, Path(directory), rows)
                found[name].append(rate)
                tell(f"round {number + 1}: {name} learns {rate:.0f} tokens per second")
    times = {
        bar: median(ours / theirs for ours, theirs in zip(found["ours"], found[name], strict=True))
        for bar, name in (("lora_vs_trl", "trl"), ("lora_vs_trl_packed", "trl_packed"))
    }
    return {"tokens_per_cpu_s": {name: round(median(rates), 1) for name, rates in found.items()}, **times}


def trl_python(directory: Path) -> Path:
    """The Python of an environment with TRL, apart from ours; made once. About a gigabyte."""
    python, marker = directory / "bin" / "python", directory / "requirements.txt"
    wanted = "\n".join(name for names in WITH_TRL for name in names)
    if marker.is_file() and marker.read_text() == wanted:
        return python
    tell(f"making an environment for TRL in {directory}")
    installs = [[str(python), "-m", "pip", "install", "--quiet", *names] for names in WITH_TRL]
    for command in ([sys.executable, "-m", "venv", "--clear", str(directory)], *installs):
        done = subprocess.run(command, env=environment(), capture_output=True, text=True)
        if done.returncode:
            raise CannotRun(f"{' '.join(command[:4])} failed:\n{done.stderr[-2000:]}")
    marker.write_text(wanted)
    return python


def _run(python: Path, contestant: str, directory: Path, rows: int) -> float:
    command = [str(python), __file__, "--contestant", contestant, "--base", str(directory), "--rows", str(rows)]
    alone = {**environment(), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(command, env=alone, capture_output=True, text=True, cwd=directory)
    if done.returncode:
        raise CannotRun(f"{contestant} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def _texts(rows: int) -> list[list[int]]:
    """The rows as words' numbers; 0 to 2 have a meaning of their own."""
    chance = random.Random(0)
    lengths = [
        min(LONGEST - 1, max(8, round(chance.lognormvariate(math.log(MEDIAN_LENGTH), SPREAD)))) for _ in range(rows)
    ]
    return [[chance.randrange(3, WORDS) for _ in range(length)] for length in lengths]


def _make_base(directory: Path, _rows: int) -> float:
    """The model that all start from, with a tokenizer of numbered words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(**SHAPE, bos_token_id=None, eos_token_id=1, pad_token_id=0))
    model.save_pretrained(directory)
    words = {"<pad>": 0, "<eos>": 1, "<unk>": 2, **{f"w{number}": number for number in range(3, WORDS)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(directory / "tokenizer.json"))
    special = {"eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
    (directory / "tokenizer_config.json").write_text(json.dumps(about))
    return sum(parameter.numel() for parameter in model.parameters())


def _ours(directory: Path, rows: int) -> float:
    """The recipe as users start it, in the loop that all recipes share."""
    import torch

    from inhouse.data.examples import Form
    from inhouse.training.checkpoint import Checkpoints
    from inhouse.training.dataset import Row, Splits
    from inhouse.training.loop import Loop
    from inhouse.training.recipe import configure
    from inhouse.training.task import Task

    torch.set_num_threads(1)
    texts = [" ".join(f"w{number}" for number in words) for words in _texts(rows)]
    splits = Splits([Row(str(number), text, "") for number, text in enumerate(texts)], [], [], Form.TEXT)
    same = {"base": str(directory), **LORA, "learning_rate": RATE, "batch_size": BATCH, "epochs": 1}
    task = configure("sft", {**same, "max_length": LONGEST, "chat_template": "chatml"}).prepare(splits, seed=0)
    assert isinstance(task, Task)
    moments: list[float] = []
    loop = Loop(
        task,
        checkpoints=Checkpoints(Path(tempfile.mkdtemp(dir=directory))),  # a new run, in every round
        checkpoint_every_s=1e9,
        emit=lambda kind, **_: moments.append(time.process_time()) if kind == "step" else None,
        should_stop=lambda: False,
    )
    loop.run()
    tokens = sum(len(task.train[number]) for batch in task.batches(0)[1:] for number in batch)
    return tokens / (moments[-1] - moments[0])


def _trl(directory: Path, rows: int, *, packing: bool = False) -> float:
    """SFTTrainer as it comes, in bf16; without recomputing activations, which would only slow it down."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(1)
    clock: list[float] = []
    counts: list[int] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.append(time.process_time())

    class Counted(SFTTrainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **named: Any) -> Any:
            counts.append(int((inputs["labels"] != -100).sum()))
            return super().compute_loss(model, inputs, *args, **named)

    settings = SFTConfig(
        output_dir=str(directory / "trl"),
        per_device_train_batch_size=1 if packing else BATCH,
        num_train_epochs=1,
        learning_rate=RATE,
        bf16=True,
        use_cpu=True,
        gradient_checkpointing=False,
        packing=packing,
        max_length=LONGEST,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    lora = LoraConfig(r=LORA["r"], lora_alpha=LORA["alpha"], target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = Counted(
        model=AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32),
        args=settings,
        train_dataset=Dataset.from_dict({"input_ids": [[*words, 1] for words in _texts(rows)]}),
        processing_class=AutoTokenizer.from_pretrained(directory),
        peft_config=lora,
        callbacks=[Clock()],
    )
    trainer.train()
    return sum(counts[1:]) / (clock[-1] - clock[0])


def _trl_packed(directory: Path, rows: int) -> float:
    return _trl(directory, rows, packing=True)


_CONTESTS = {"base": _make_base, "ours": _ours, "trl": _trl, "trl_packed": _trl_packed}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--peers", type=Path, default=PEERS, help="where TRL's environment is kept")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--contestant", choices=_CONTESTS, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.contestant:
        os.environ["OMP_NUM_THREADS"] = "1"
        print(_CONTESTS[asked.contestant](asked.base, asked.rows))
        return 0
    found = measure(peers=asked.peers, rounds=asked.rounds, rows=asked.rows)
    bars = {name: {"value": found[name], "bar": bar, "ok": found[name] >= bar} for name, bar in BARS.items()}
    report = {"machine": facts(), **found, "bars": bars}
    print(json.dumps(report, indent=1))
    return 0 if all(bar["ok"] for bar in bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
