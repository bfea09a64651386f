"""Run the model in this directory: `python run.py "a text" "another"`.

Needs onnxruntime, tokenizers and numpy, nothing else; a pair of texts is written `"one ||| other"`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

PARTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


class Model:
    """A model directory, ready to answer on the processor."""

    def __init__(self, directory: Path, threads: int = 1) -> None:
        self.about = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self.tokenizer.enable_truncation(self.about.get("max_length", 512))
        if self.tokenizer.padding is None:
            pads = (self.tokenizer.token_to_id(token) for token in ("[PAD]", "<pad>"))
            self.tokenizer.enable_padding(pad_id=next((pad for pad in pads if pad is not None), 0))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(directory / "model.onnx", options, ["CPUExecutionProvider"])

    def outputs(self, texts) -> np.ndarray:
        """What the network says of each text or pair, before it is turned into an answer."""
        read = self.tokenizer.encode_batch(list(texts))
        names = [node.name for node in self.session.get_inputs()]
        feed = {name: np.array([getattr(one, PARTS[name]) for one in read], dtype=np.int64) for name in names}
        return np.asarray(self.session.run(None, feed)[0])

    def predict(self, texts) -> list[dict]:
        """One answer a text, as the server gives it."""
        outputs, kind, labels = self.outputs(texts), self.about["kind"], self.about.get("labels", [])
        if kind == "embed":
            return [{"vector": row} for row in outputs.tolist()]
        if kind == "rerank":
            return [{"score": float(chance)} for chance in 1 / (1 + np.exp(-outputs[:, 0]))]
        if kind != "classify":
            raise SystemExit(f"Models of the kind {kind!r} need the server.")
        settings = self.about.get("settings", {})
        logits = outputs.astype(np.float64) / self.about.get("temperature", 1.0)
        unknown = settings.get("unknown_logit", -np.inf)  # of "none of these", which takes its share
        peak = np.maximum(logits.max(-1, keepdims=True), unknown)
        powers, rest = np.exp(logits - peak), np.exp(unknown - peak)
        each = 1 / (1 + np.exp(-logits))
        scores = each if settings.get("multi_label") else powers / (powers.sum(-1, keepdims=True) + rest)
        return [{"scores": dict(zip(labels, row, strict=True))} for row in scores.tolist()]


if __name__ == "__main__":
    texts = [tuple(text.split(" ||| ", 1)) if " ||| " in text else text for text in sys.argv[1:]]
    for answer in Model(Path(__file__).parent).predict(texts) if texts else sys.exit(__doc__):
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
