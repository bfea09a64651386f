"""Networks by OpenVINO: the fastest way to run a language model on a CPU.

The model is written once as OpenVINO's own format with weights of eight bits, next to nothing is left to do when it is
loaded. Keys and values lie in pages, so requests of any length are read together and share what they have in common.
"""

import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from inhouse.serving.lm import gguf
from inhouse.serving.lm.runtime import Plan

if TYPE_CHECKING:
    from torch import Tensor

    from inhouse.serving.lm.network import Part

PAGE = 32
"""Tokens in a page of OpenVINO's attention on CPUs."""
_MODEL = "openvino_model.xml"
_FORMAT = "1"
"""Changes when `prepare` makes something else of the same model."""
_EXACT = {"KV_CACHE_PRECISION": "f32", "INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


class Pages:
    """Which pages are free, and how many rows share each of the others."""

    def __init__(self, count: int) -> None:
        self._free = list(range(count - 1, -1, -1))
        self._shared: Counter[int] = Counter()
        self._lock = threading.Lock()  # rows may be let go on any thread

    @property
    def free(self) -> int:
        return len(self._free)

    def take(self) -> int:
        """A page of one's own."""
        with self._lock:
            return self._free.pop()

    def share(self, pages: Sequence[int]) -> None:
        with self._lock:
            self._shared.update(pages)

    def give_back(self, pages: Sequence[int]) -> None:
        with self._lock:
            for page in pages:
                if self._shared[page]:
                    self._shared[page] -= 1
                else:
                    self._free.append(page)


class PagedRow:
    """The past of one choice: the pages that hold it. They are free again when the row is gone."""

    adapter = ""

    def __init__(self, network: "OpenVinoNetwork") -> None:
        self.length = 0
        self.pages: list[int] = []
        self._network = network

    def __del__(self) -> None:
        self._network.pages.give_back(self.pages)

    def fork(self) -> "PagedRow":
        """Another row with the same past: whole pages are shared, the last one is copied as both go on writing."""
        twin = PagedRow(self._network)
        whole = self.length // PAGE
        self._network.pages.share(self.pages[:whole])
        twin.pages = self.pages[:whole]
        twin.length = self.length
        if self.length % PAGE:
            twin.pages.append(self._network.copied(self.pages[whole]))
        return twin

    def grow(self, count: int) -> None:
        """Have room for so many tokens more."""
        while len(self.pages) * PAGE < self.length + count:
            self.pages.append(self._network.pages.take())


class OpenVinoNetwork:
    """A model that OpenVINO runs."""

    device = torch.device("cpu")

    def __init__(self, directory: Path, plan: Plan) -> None:
        """`kv_tokens` are there for certain: each running row may waste most of a page beside them."""
        import openvino  # pyright: ignore[reportMissingImports]

        config = plan.checkpoint.config
        self.context_length = int(config["max_position_embeddings"])
        self.scores = int(config["vocab_size"])
        count = -(-plan.kv_tokens // PAGE) + 2 * plan.max_batch
        self.pages = Pages(count)
        compiled = openvino.Core().compile_model(
            _with_pages(directory / _MODEL), "CPU", _EXACT if plan.dtype == "float32" else {}
        )
        self._request: Any = compiled.create_infer_request()
        self._caches = [_cache(port, count) for port in compiled.inputs if "_cache." in port.get_any_name()]
        for name, tensor in self._caches:
            self._request.set_tensor(name, tensor)

    def row(self, capacity: int, adapter: str = "") -> PagedRow:
        return PagedRow(self)

    def copied(self, page: int) -> int:
        """A copy of a page of every layer."""
        copy = self.pages.take()
        for _, tensor in self._caches:
            tensor.data[copy] = tensor.data[page]
        return copy

    def step(self, parts: "Sequence[Part]") -> "Tensor":
        """Read all parts in one pass; return the scores of what follows each `wanted` one."""
        rows = [part.row for part in parts if isinstance(part.row, PagedRow)]
        counts = [len(part.ids) for part in parts]
        for row, count in zip(rows, counts, strict=True):
            row.grow(count)
        ends = np.cumsum(counts)
        inputs = {
            "input_ids": np.array([id for part in parts for id in part.ids], dtype=np.int64),
            "position_ids": np.concatenate(
                [np.arange(row.length, row.length + count) for row, count in zip(rows, counts, strict=True)]
            ),
            "max_context_len": np.array(
                max(row.length + count for row, count in zip(rows, counts, strict=True)), dtype=np.int32
            ),
            "past_lens": np.array([row.length for row in rows], dtype=np.int32),
            "subsequence_begins": np.array([0, *ends], dtype=np.int32),
            "block_indices": np.array([page for row in rows for page in row.pages], dtype=np.int32),
            "block_indices_begins": np.cumsum([0, *(len(row.pages) for row in rows)], dtype=np.int32),
            "wanted": np.array([end - 1 for end, part in zip(ends, parts, strict=True) if part.wanted], dtype=np.int64),
        }
        answer = self._request.infer(inputs, share_inputs=True)[0]
        for row, count in zip(rows, counts, strict=True):
            row.length += count
        return torch.from_numpy(np.array(answer, dtype=np.float32)).reshape(-1, self.scores)


def prepare(plan: Plan) -> Path:
    """The model as OpenVINO reads it, made on first use and kept: one directory for each version and merged adapter."""
    version = "-".join(filter(None, (_FORMAT, plan.checkpoint.version, plan.merged.version if plan.merged else "")))
    directory = plan.cache / "openvino" / version
    if (directory / _MODEL).exists():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".", dir=directory.parent))
    try:
        _convert(gguf.convert(plan.checkpoint, unfinished / "model.gguf", merged=plan.merged))
        unfinished.rename(directory)
    except OSError:
        if not (directory / _MODEL).exists():  # or somebody else was faster
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return directory


def _convert(file: Path) -> None:
    """Let OpenVINO read the GGUF file and keep what it made of it, beside it."""
    import openvino_genai  # pyright: ignore[reportMissingImports]

    scheduler = openvino_genai.SchedulerConfig()
    scheduler.num_kv_blocks = 1
    openvino_genai.ContinuousBatchingPipeline(str(file), scheduler, "CPU", {"enable_save_ov_model": True})
    file.unlink()


def _with_pages(path: Path) -> Any:
    """The model with paged attention, which scores only the tokens that somebody asks for."""
    from openvino import Core, Type, opset15  # pyright: ignore[reportMissingImports]
    from openvino._offline_transformations import paged_attention_transformation  # pyright: ignore[reportMissingImports]

    model = Core().read_model(path)
    paged_attention_transformation(model)
    last = model.get_results()[0].input_value(0).get_node()
    while last.get_type_name() != "MatMul":
        last = last.input_value(0).get_node()
    wanted = opset15.parameter([-1], Type.i64, name="wanted")
    wanted.output(0).set_names({"wanted"})
    chosen = opset15.gather(last.input_value(0), wanted, opset15.constant(np.int64(0)))
    last.input(0).replace_source_output(chosen.output(0))
    model.add_parameters([wanted])
    model.validate_nodes_and_infer_types()
    return model


def _cache(port: Any, count: int) -> tuple[str, Any]:
    """Memory for the pages of one layer."""
    from openvino import Shape, Tensor  # pyright: ignore[reportMissingImports]

    shape = [count, *(dimension.get_length() for dimension in list(port.get_partial_shape())[1:])]
    tensor = Tensor(port.get_element_type(), Shape(shape))
    tensor.data[:] = 0
    return port.get_any_name(), tensor
