"""One choice of an answer as it is written: tokens to pieces that may be shown.

Stop texts never come out, not even in parts. What a model thinks, and the tools it calls, come out apart.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from inhouse.models.language.vocabulary import Detokenizer, Vocabulary
from inhouse.serving.lm.piece import Piece
from inhouse.serving.lm.sections import Calls, Plain, Said, Sections, Stops

if TYPE_CHECKING:
    from inhouse.serving.lm.sampling import Chosen


class Choice:
    """The text of one choice. It ends when the model ends it, at a stop text, or at its limit."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        sections: Plain | Sections | Calls,
        *,
        index: int,
        limit: int,
        stops: Sequence[str],
    ) -> None:
        self.index = index
        self.written = 0
        self.finish_reason: str | None = None
        self._limit = limit
        self._vocabulary = vocabulary
        self._detokenizer = Detokenizer(vocabulary)
        self._stops = Stops(stops)
        self._sections = sections
        self._logprobs: list[Mapping[str, Any]] = []

    @property
    def is_thinking(self) -> bool:
        return self._sections.is_thinking

    def accept(self, chosen: "Chosen", *, ends: bool, with_logprobs: bool) -> Piece | None:
        """Add a token; return what can be shown now. `ends` says that this token ends the answer."""
        self.written += 1
        if ends:
            return self._finish("stop")
        if with_logprobs:
            self._logprobs.append(self._explain(chosen))
        said = self._sections.push(self._stops.push(self._detokenizer.push(chosen.id)))
        if self._stops.is_met:
            return self._finish("stop", said)
        if self.written >= self._limit:
            return self._finish("length", said)
        return self._piece(said) if said else None

    def close(self) -> Piece:
        """End the answer here: its grammar allows nothing more."""
        return self._finish("stop")

    def _finish(self, reason: str, said: Said | None = None) -> Piece:
        said = said or Said()
        rest = "" if self._stops.is_met else self._stops.push(self._detokenizer.finish())
        rest += "" if self._stops.is_met else self._stops.finish()
        for more in (self._sections.push(rest), self._sections.finish()):
            said.text += more.text
            said.reasoning += more.reasoning
            said.calls += more.calls
        called = self._sections.has_called and reason == "stop"
        self.finish_reason = "tool_calls" if called else reason
        return self._piece(said)

    def _piece(self, said: Said) -> Piece:
        logprobs, self._logprobs = self._logprobs, []
        return Piece(
            index=self.index,
            text=said.text,
            reasoning=said.reasoning,
            logprobs=logprobs or None,
            tool_calls=said.calls,
            finish_reason=self.finish_reason,
        )

    def _explain(self, chosen: "Chosen") -> Mapping[str, Any]:
        others = [self._token(id, logprob) for id, logprob in chosen.others]
        return {**self._token(chosen.id, chosen.logprob), "top_logprobs": others}

    def _token(self, id: int, logprob: float) -> dict[str, Any]:
        spelled = self._vocabulary.bytes(id)
        return {"token": self._vocabulary.token(id), "logprob": max(logprob, -9999.0), "bytes": list(spelled)}
