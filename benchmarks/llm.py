"""Measure how fast language models write on this processor: each engine by itself, and ours in front of it.

python benchmarks/llm.py --json
python benchmarks/llm.py --size tiny --rounds 1        while developing

The model has the shape of Qwen2.5-0.5B and random weights in bfloat16; it is made on the spot and kept under --work.
Every contestant runs in a process of its own, in turn, so that all meet the same machine. What has to be read from
memory for one token is the limit of every engine: the bandwidth is measured in the same run.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from site import getsitepackages
from statistics import median
from typing import Any

from machine import facts
from programs import CannotRun, side_python, tell

ROOT = Path(__file__).resolve().parent.parent
PROMPT, TOKENS = 64, 32
BATCHES = (1, 8)
SIZES: dict[str, dict[str, Any]] = {
    "0.5b": {
        "vocab_size": 151936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "max_position_embeddings": 4096,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        "dtype": "bfloat16",
    },
    "tiny": {"max_position_embeddings": 4096},
}
WORK = Path("~/.cache/inhouse-bench/llm")


@dataclass(frozen=True)
class Written:
    """How long it took to read prompts and write after them."""

    wall_s: float
    cpu_s: float


Write = Callable[[Sequence[Sequence[int]], int], Written]
"""Prompts and how many tokens to write after each."""


@contextmanager
def generate(directory: Path) -> Iterator[tuple[Write, int]]:
    """transformers alone: `generate` on a batch of prompts of one length."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(directory, dtype="auto")
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0

    def write(prompts: Sequence[Sequence[int]], tokens: int) -> Written:
        ids = torch.tensor(prompts)
        with stopwatch() as written, torch.inference_mode():
            model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
        return written()

    yield write, weight_bytes(directory)


@contextmanager
def ours(directory: Path, runtime: str) -> Iterator[tuple[Write, int]]:
    """A runtime of ours, as requests meet it: every prompt is a request of its own, text comes out piece by piece."""
    with asyncio.Runner() as runner, loaded(directory, runtime, runner) as model:

        def write(prompts: Sequence[Sequence[int]], tokens: int) -> Written:
            with stopwatch() as written:
                runner.run(together(model.model(), prompts, tokens))
            return written()

        yield write, weight_bytes(directory, runtime)


@contextmanager
def genai(directory: Path) -> Iterator[tuple[Write, int]]:
    """OpenVINO GenAI's continuous batching alone, on the same eight-bit weights as ours."""
    import numpy as np
    import openvino
    import openvino_genai

    from inhouse.serving.lm import gguf
    from inhouse.serving.lm.checkpoint import open_checkpoint

    file = gguf.convert(open_checkpoint(directory), directory.parent / f"{directory.name}.gguf")
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.num_kv_blocks, scheduler.max_num_batched_tokens = 512, 512
    pipeline = openvino_genai.ContinuousBatchingPipeline(str(file), scheduler, "CPU", {})

    def write(prompts: Sequence[Sequence[int]], tokens: int) -> Written:
        settings = openvino_genai.GenerationConfig()
        settings.max_new_tokens, settings.ignore_eos, settings.do_sample = tokens, True, False
        settings.apply_chat_template = False
        with stopwatch() as written:
            handles = [  # a request ends when its handle does
                pipeline.add_request(number, openvino.Tensor(np.array([prompt], dtype=np.int64)), settings)
                for number, prompt in enumerate(prompts)
            ]
            while pipeline.has_non_finished_requests():
                pipeline.step()
        assert all(sum(len(one.generated_ids) for one in handle.read_all()) == tokens for handle in handles)
        return written()

    yield write, weight_bytes(directory, "openvino")


CONTESTANTS: dict[str, Callable[[Path], Any]] = {
    "transformers": generate,
    "ours_transformers": lambda directory: ours(directory, "transformers"),
    "openvino_genai": genai,
    "ours_openvino": lambda directory: ours(directory, "openvino"),
}
"""Name -> how to open it. Those of ours begin with `ours_`; the rest are engines alone."""
EXTRAS = {"openvino_genai": "openvino_genai", "ours_openvino": "openvino_genai"}
"""Contestants that take part where a package is installed."""


@contextmanager
def loaded(directory: Path, runtime: str, runner: asyncio.Runner) -> Iterator[Any]:
    from inhouse.serving.lm.checkpoint import Kind, open_checkpoint
    from inhouse.serving.lm.runtime import Plan, language_runtimes

    model = language_runtimes[runtime].load(
        Plan("bench", open_checkpoint(directory), Kind.CHAT, cache=directory.parent)
    )
    try:
        yield model
    finally:
        runner.run(model.close())


async def together(model: Any, prompts: Sequence[Sequence[int]], tokens: int) -> None:
    await asyncio.gather(*(one(model, prompt, tokens) for prompt in prompts))


async def one(model: Any, prompt: Sequence[int], tokens: int) -> None:
    usage = None
    async for piece in model.generate(
        {"prompt": list(prompt), "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
    ):
        usage = piece.usage or usage
    assert usage == (len(prompt), tokens), f"asked for {tokens} tokens, got {usage}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one line of JSON only")
    parser.add_argument("--size", choices=SIZES, default="0.5b", help="of the model; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=2, help="rounds, of which the median counts")
    parser.add_argument("--threads", default="1,2", help="numbers of threads; default: %(default)s")
    parser.add_argument("--only", default=",".join(CONTESTANTS), help="some of: %(default)s")
    parser.add_argument("--work", type=Path, default=WORK, help="where the model is kept")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(child(chosen.child, chosen.work)))
        return
    result = run(chosen)
    if not chosen.json:
        print(json.dumps(result["figures"], indent=2))
    print(json.dumps(result))


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    work = chosen.work.expanduser().absolute()
    directory = model_directory(work, chosen.size)
    threads = [int(number) for number in chosen.threads.split(",")]
    names = [name for name in CONTESTANTS if name in chosen.only.split(",") and python_of(name, work)]
    rounds = [
        {
            (count, name): in_child(name, directory, count, python_of(name, work))
            for count in threads
            for name in ["bandwidth", *names]
        }
        for _ in range(chosen.rounds)
    ]
    figures = {
        f"threads_{count}": {name: medians([one[count, name] for one in rounds]) for name in ["bandwidth", *names]}
        for count in threads
    }
    for of_threads in figures.values():
        add_shares(of_threads)
    late = in_child("late", directory, threads[-1], sys.executable)
    return {
        "bars": bars(figures[f"threads_{threads[0]}"]),
        "figures": {
            **figures,
            "late_request": late,
            "model": {"size": chosen.size, "prompt": PROMPT, "tokens": TOKENS},
        },
        "machine": facts(),
    }


@cache
def python_of(name: str, work: Path) -> str:
    """What runs a contestant: this Python, or one beside it that has the packages of the extra `openvino` as well."""
    if name not in EXTRAS or find_spec(EXTRAS[name]) is not None:
        return sys.executable
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    try:
        return str(side_python(work / "openvino", project["optional-dependencies"]["openvino"]))
    except CannotRun as reason:
        tell(f"{name} is left out: {reason}")
        return ""


def model_directory(work: Path, size: str) -> Path:
    """The model, made if need be."""
    from inhouse.testing.language import tiny_language_model

    directory = work / f"qwen2-{size}"
    if not (directory / "words.done").exists():
        tiny_language_model(directory, config=SIZES[size])
        fill_vocabulary(directory)
        (directory / "words.done").touch()
    return directory


def fill_vocabulary(directory: Path) -> None:
    """Give every token that the network knows a word, so that whatever it says is text."""
    size = json.loads((directory / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    tokenizer = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    words = tokenizer["model"]["vocab"]
    known = {*words.values(), *(token["id"] for token in tokenizer["added_tokens"])}
    words |= {f"Ġw{id}": id for id in range(size) if id not in known}
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")


def in_child(name: str, directory: Path, threads: int, python: str) -> dict[str, Any]:
    """Measure one contestant in a process of its own, with so many threads on as many cores."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    if python != sys.executable:
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), *getsitepackages()])
    command = [python, __file__, "--child", name, "--work", str(directory)]
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))[-threads:]
        command = ["taskset", "-c", ",".join(map(str, cores)), *command]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def child(name: str, directory: Path) -> dict[str, Any]:
    if name == "bandwidth":
        return bandwidth()
    if name == "late":
        with asyncio.Runner() as runner, loaded(directory, "transformers", runner) as model:
            return runner.run(late_request(model.model()))
    started = time.perf_counter()
    with CONTESTANTS[name](directory) as (write, weights):
        loaded_s = time.perf_counter() - started
        write(prompts_of(1, seed=0), 2)
        return {"load_s": loaded_s, "weight_bytes": weights, **speeds(write)}


def speeds(write: Write) -> dict[str, float]:
    """Tokens a second, by the time of day and by the processor's, without the time to read the prompts."""
    found = {}
    for batch in BATCHES:
        first = write(prompts_of(batch, seed=1), 1)
        whole = write(prompts_of(batch, seed=2), 1 + TOKENS)
        found[f"batch{batch}_tokens_per_s"] = batch * TOKENS / (whole.wall_s - first.wall_s)
        found[f"batch{batch}_tokens_per_cpu_s"] = batch * TOKENS / (whole.cpu_s - first.cpu_s)
        found[f"batch{batch}_first_token_s"] = first.wall_s
    return found


def prompts_of(batch: int, *, seed: int, length: int = PROMPT) -> list[list[int]]:
    """Prompts that nobody can have kept from before."""
    import random

    dice = random.Random(f"{batch} {seed}")
    return [[dice.randrange(10, 390) for _ in range(length)] for _ in range(batch)]


async def late_request(model: Any) -> dict[str, float]:
    """How soon a short request speaks while others write and a long prompt is read; and what the others notice."""
    alone_s = await first_token_s(model, prompts_of(1, seed=3, length=16)[0])
    gaps: list[float] = []
    async with writing(model, 4, gaps):
        calm = len(gaps)
        reader = asyncio.create_task(first_token_s(model, prompts_of(1, seed=4, length=1500)[0]))
        await asyncio.sleep(0)
        late_s = await first_token_s(model, prompts_of(1, seed=5, length=16)[0])
        long_s = await reader
    return {
        "first_token_alone_s": alone_s,
        "first_token_beside_4_streams_and_a_long_prompt_s": late_s,
        "first_token_of_the_long_prompt_s": long_s,
        "usual_gap_between_tokens_s": median(gaps[:calm] or gaps),
        "longest_gap_while_the_long_prompt_was_read_s": max(gaps[calm:] or gaps),
    }


@asynccontextmanager
async def writing(model: Any, streams: int, gaps: list[float]) -> AsyncIterator[None]:
    """Streams that write all the time, and the gaps between their tokens."""
    under_way = asyncio.Event()

    async def stream(prompt: list[int]) -> None:
        last = 0.0
        async for _ in model.generate({"prompt": prompt, "max_tokens": 2000, "temperature": 0, "ignore_eos": True}):
            now, before = time.perf_counter(), last
            last = now
            if before:
                gaps.append(now - before)
            if len(gaps) > 20:
                under_way.set()

    tasks = [asyncio.create_task(stream(prompt)) for prompt in prompts_of(streams, seed=6)]
    await under_way.wait()
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def first_token_s(model: Any, prompt: list[int]) -> float:
    started = time.perf_counter()
    async for _ in model.generate({"prompt": prompt, "max_tokens": 1, "temperature": 0, "ignore_eos": True}):
        pass
    return time.perf_counter() - started


def bandwidth() -> dict[str, float]:
    """How fast memory can be read: a large matrix, once through, by the number of threads that engines get."""
    import torch

    matrix, vector = torch.ones(1 << 15, 1 << 13), torch.ones(1 << 13)
    found = []
    for _ in range(8):
        with stopwatch() as written:
            torch.mv(matrix, vector)
        found.append(written())
    gigabytes = matrix.nbytes / 1e9
    return {
        "gb_per_s": gigabytes / min(one.wall_s for one in found),
        "gb_per_cpu_s": gigabytes / min(one.cpu_s for one in found),
    }


@contextmanager
def stopwatch() -> Iterator[Callable[[], Written]]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield lambda: Written(time.perf_counter() - wall, time.process_time() - cpu)


def weight_bytes(directory: Path, runtime: str = "") -> int:
    """What has to be read for each token. Embeddings that double as the output are read whole."""
    written = sum(path.stat().st_size for path in directory.glob("*.safetensors"))
    return written * 17 // 32 if runtime == "openvino" else written  # 32 weights of two bytes become 34 bytes


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(median(one[name] for one in rounds), 4) for name in rounds[0]}


def add_shares(figures: dict[str, dict[str, float]]) -> None:
    """Which share of the memory's bandwidth one stream makes use of, by processor time: neighbours do not matter."""
    limit = figures["bandwidth"]["gb_per_cpu_s"] * 1e9
    for name, found in figures.items():
        if name != "bandwidth":
            found["bandwidth_share"] = round(found["batch1_tokens_per_cpu_s"] * found["weight_bytes"] / limit, 3)


def bars(figures: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    speed = {name: found["batch8_tokens_per_cpu_s"] for name, found in figures.items() if name != "bandwidth"}
    mine = [value for name, value in speed.items() if name.startswith("ours_")]
    alone = [value for name, value in speed.items() if not name.startswith("ours_")]
    found = [{"name": "batch8_vs_best", "value": round(max(mine) / max(alone), 3)}] if mine and alone else []
    if "ours_openvino" in figures:
        found.append({"name": "openvino_bandwidth_share", "value": figures["ours_openvino"]["bandwidth_share"]})
    return found


if __name__ == "__main__":
    main()
