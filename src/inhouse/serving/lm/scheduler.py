"""Who reads and who writes in the next step of a language model: first come, first seated, nobody starved."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Job:
    """A request as the scheduler sees it: how much it has to read, and how much its choices may write."""

    prompt: int
    """Tokens to read."""
    limit: int
    """Tokens that each choice may write."""
    choices: int = 1
    read: int = 0
    open: int = field(init=False)
    """Choices that are not finished."""

    def __post_init__(self) -> None:
        self.open = self.choices

    @property
    def tokens(self) -> int:
        """The room that one choice may need to its very end. It is reserved at the start: no job is ever put out."""
        return self.prompt + self.limit

    @property
    def is_reading(self) -> bool:
        return self.read < self.prompt


@dataclass(frozen=True, slots=True)
class Portion:
    """Tokens of a prompt to be read in one step."""

    job: Job
    start: int
    count: int

    @property
    def is_last(self) -> bool:
        return self.start + self.count == self.job.prompt


class Scheduler:
    """Seats jobs in the order they came, and shares out each step.

    A step writes one token for every choice that is writing and reads at most `chunk` tokens of prompts beside it,
    or `long_chunk` when nobody is writing, so that a long prompt never holds up a running stream for long. Prompts
    under way share the reading equally: a short one does not wait for a long one.
    """

    def __init__(self, *, rows: int, tokens: int, waiting: int, chunk: int = 64, long_chunk: int = 512) -> None:
        self.rows, self.tokens, self.waiting = rows, tokens, waiting
        self._chunk, self._long_chunk = chunk, long_chunk
        self._queue: deque[Job] = deque()
        self._seated: list[Job] = []
        self.used_rows = 0
        self.used_tokens = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._seated)

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def running(self) -> int:
        return len(self._seated)

    def fits(self, job: Job) -> bool:
        """Whether there is room for the job at all, with nobody else here."""
        return job.choices <= self.rows and job.choices * job.tokens <= self.tokens

    @property
    def is_full(self) -> bool:
        """Whether nobody else may wait; who only waits for the next step to a free place does not count."""
        return len(self._queue) >= self.waiting + self.rows - self.used_rows

    def add(self, job: Job) -> None:
        self._queue.append(job)

    def seat(self) -> list[Job]:
        """Give seats to those who waited longest, as long as the next one fits; return who is new."""
        new = []
        while self._queue and self._has_room(self._queue[0]):
            job = self._queue.popleft()
            self.used_rows += job.choices
            self.used_tokens += job.choices * job.tokens
            self._seated.append(job)
            new.append(job)
        return new

    def writing(self) -> list[Job]:
        return [job for job in self._seated if not job.is_reading]

    def portions(self) -> list[Portion]:
        """What is read in the next step, at least one token of every prompt as far as the step has room."""
        reading = [job for job in self._seated if job.is_reading]
        room = self._long_chunk if len(reading) == len(self._seated) else self._chunk
        shares: dict[Job, int] = dict.fromkeys(reading[:room], 0)
        while room and shares and any(job.prompt - job.read > share for job, share in shares.items()):
            hungry = [job for job, share in shares.items() if job.prompt - job.read > share]
            equal = max(1, room // len(hungry))
            for job in hungry[:room]:
                taken = min(equal, job.prompt - job.read - shares[job], room)
                shares[job] += taken
                room -= taken
        return [Portion(job, job.read, share) for job, share in shares.items() if share]

    def finish(self, job: Job) -> None:
        """One choice of the job is done."""
        job.open -= 1
        self.used_rows -= 1
        self.used_tokens -= job.tokens
        if not job.open:
            self._seated.remove(job)

    def drop(self, job: Job) -> None:
        """The whole job leaves, wherever it is. Harmless when it is gone already."""
        if job in self._queue:
            self._queue.remove(job)
        elif job in self._seated:
            while job.open:
                self.finish(job)

    def _has_room(self, job: Job) -> bool:
        return self.used_rows + job.choices <= self.rows and self.used_tokens + job.choices * job.tokens <= self.tokens
