"""Chat models on a CPU: OpenVINO with weights of eight bits, several times faster than the transformers library."""

from importlib.util import find_spec

from inhouse.serving.lm.checkpoint import Checkpoint, Kind
from inhouse.serving.lm.runtime import Loaded, Plan, language_runtimes

_INSTALL = "pip install 'inhouse[openvino]'"


class OpenVinoRuntime:
    """Runs Llama, Qwen2 and Qwen3. An adapter becomes part of the weights: each is a model of its own."""

    merges_adapters = True
    is_server = False

    def missing(self) -> str:
        return "" if all(map(find_spec, ("openvino", "openvino_genai", "gguf"))) else _INSTALL

    def serves(self, checkpoint: Checkpoint, kind: Kind) -> bool:
        from inhouse.serving.lm.gguf import is_convertible

        return kind is Kind.CHAT and is_convertible(checkpoint)

    def load(self, plan: Plan) -> Loaded:
        from inhouse.serving.lm.openvino import OpenVinoNetwork, prepare
        from inhouse.serving.lm.runtimes.transformers import TransformersLoaded

        return TransformersLoaded(plan, OpenVinoNetwork(prepare(plan), plan))


language_runtimes.add("openvino", OpenVinoRuntime())
