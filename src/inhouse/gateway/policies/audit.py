"""Keep every request and its answer in files, for as long as the house wants."""

import random

from pydantic import Field

from inhouse.gateway.audit.journal import Journal, Keeping
from inhouse.gateway.audit.rows import Bodies
from inhouse.gateway.audit.segments import AUDIT
from inhouse.gateway.call import Call, Outcome
from inhouse.gateway.policy import Policy, Settings, Surroundings, policy

_NOTE = "audit"


class AuditSettings(Settings):
    enabled: bool = Field(default=False, description="Whether requests are kept.")
    bodies: bool = Field(default=True, description="Whether to keep what was asked and answered as well.")
    max_body_bytes: int = Field(
        default=64 << 10, ge=256, le=16 << 20, description="Longer requests and answers are cut."
    )
    share: float = Field(default=1.0, ge=0, le=1, description="The share of requests that is kept, chosen by chance.")
    retention_days: int = Field(default=30, ge=1, le=3650, description="Days until requests are deleted.")
    max_bytes: int = Field(
        default=10 << 30, ge=1 << 20, le=1 << 44, description="Disk space; the oldest requests make room."
    )
    chain: bool = Field(
        default=False, description="Chain each request to the one before, so that later changes of the files show."
    )
    mask: bool = Field(default=False, description="Leave e-mail addresses, numbers and keys out of what is kept.")


@policy("audit", order=8, settings=AuditSettings)
class Audit(Policy[AuditSettings]):
    """Writes requests behind the answers, on a thread of its own."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        home = surroundings.home
        self._is_sampled = False
        self.journal: Journal | None = None
        if home is not None:
            self.journal = Journal(home / AUDIT / surroundings.workspace_id, now=surroundings.now)

    def configure(self, settings: AuditSettings) -> None:
        super().configure(settings)
        self._is_sampled = settings.share < 1
        if self.journal is not None:
            self.journal.keeping = Keeping(
                Bodies(settings.max_body_bytes, settings.mask) if settings.bodies else None,
                settings.chain,
                settings.retention_days,
                settings.max_bytes,
            )

    @property
    def is_active(self) -> bool:
        return self.settings.enabled and self.journal is not None

    def admit(self, call: Call) -> None:
        if self._is_sampled and random.random() >= self.settings.share:
            call.notes[_NOTE] = False
        elif self.settings.bodies and call.captured is None:
            call.captured = []

    def settle(self, call: Call, outcome: Outcome) -> None:
        if self.journal is not None and _NOTE not in call.notes:
            self.journal.put(call, outcome)

    def close(self) -> None:
        if self.journal is not None:
            self.journal.close()
