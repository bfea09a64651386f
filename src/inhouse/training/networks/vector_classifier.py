"""What classifiers have in common: they make one vector of a text, and tell its label from that."""

from abc import abstractmethod

from torch import Tensor

from inhouse.training.networks.network import Network


class VectorClassifier(Network):
    """A network in two halves, so that what is between texts can be made up, and vectors can be kept."""

    @abstractmethod
    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """One vector a text, [texts, dimensions]."""

    @abstractmethod
    def classify(self, vectors: Tensor) -> Tensor:
        """The logits of each label, [texts, labels]."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.classify(self.embed(input_ids, attention_mask))
