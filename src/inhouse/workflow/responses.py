"""Writing the run's text: every answer in its order, live where a model is speaking.

An answer may speak once it is certain to be reached: there is a way to it whose branching steps have all chosen it
and whose earlier answers are done. Certainty spreads along edges, each looked at once, so a run pays O(V+E) for it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from inhouse.workflow.graph import Compiled, Step
from inhouse.workflow.templates import Place
from inhouse.workflow.variables import Variables


@dataclass(slots=True)
class _Speaker:
    """An answer whose turn comes, and how much of it is said."""

    step: Step
    segments: tuple[str | Place, ...]
    segment: int = 0
    chunks: int = 0


class Responses:
    """Collects pieces of text in the order in which the reader shall see them."""

    def __init__(self, graph: Compiled, variables: Variables, say: Callable[[str, str], None]) -> None:
        self.said: list[str] = []
        self._graph = graph
        self._variables = variables
        self._say = say
        self._certain = bytearray(len(graph.steps))
        self._settled = {"sys"}
        self._heard: dict[tuple[str, ...], list[str]] = {}
        self._shown: set[str] = set()
        self._queue: list[_Speaker] = []
        self._turn = 0

    def reach(self, index: int) -> None:
        """A step is certain to be reached, and with it all that no choice separates from it."""
        reached: list[Step] = []
        left = [index]
        while left:
            index = left.pop()
            if self._certain[index]:
                continue
            self._certain[index] = True
            step = self._graph.steps[index]
            if step.response is not None:
                reached.append(step)
            if not step.blocks:
                left.extend(edge.target for edge in step.edges)
        reached.sort(key=lambda step: step.index)
        self._queue.extend(_Speaker(step, step.response.segments) for step in reached if step.response)
        self._speak()

    def hear(self, node_id: str, name: str, text: str) -> None:
        """A step streams a piece of one of its outputs."""
        selector = (node_id, name)
        if selector in self._graph.spoken:
            self._heard.setdefault(selector, []).append(text)
            self._speak()

    def forget(self, node_id: str) -> bool:
        """Drop what a failed step streamed; False when the reader has seen some of it."""
        if node_id in self._shown:
            return False
        for selector in [selector for selector in self._heard if selector[0] == node_id]:
            del self._heard[selector]
        return True

    def settle(self, node_id: str) -> None:
        """A step's outputs are final, or will never come."""
        self._settled.add(node_id)
        self._speak()

    def _speak(self) -> None:
        while self._turn < len(self._queue):
            if not self._finishes(self._queue[self._turn]):
                return
            self._turn += 1

    def _finishes(self, speaker: _Speaker) -> bool:
        """Say all that can be said now; False when a value is still to come."""
        while speaker.segment < len(speaker.segments):
            segment = speaker.segments[speaker.segment]
            if isinstance(segment, str):
                self._put(segment, speaker)
            elif not self._fill(segment, speaker):
                return False
            speaker.segment += 1
            speaker.chunks = 0
        return True

    def _fill(self, place: Place, speaker: _Speaker) -> bool:
        heard = self._heard.get(place.selector, ())
        for text in heard[speaker.chunks :]:
            self._shown.add(place.selector[0])
            self._put(text, speaker)
        speaker.chunks = len(heard)
        if place.selector[0] not in self._settled:
            return False
        if not heard:
            self._put(place.fill(self._variables.find(place.selector)), speaker)
        return True

    def _put(self, text: str, speaker: _Speaker) -> None:
        if text:
            self.said.append(text)
            self._say(text, speaker.step.id)
