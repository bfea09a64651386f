"""What can be done with a registered version: export, quantize, evaluate, explain, compare, import."""

import json
import shutil
import zipfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from inhouse.core.blobs import Blobs
from inhouse.core.errors import Conflict, InhouseError, Invalid
from inhouse.core.ids import new_id, now
from inhouse.core.jobs import JobContext, Jobs, JsonDict, UnknownJob
from inhouse.core.principal import Principal
from inhouse.data.store import split_reference
from inhouse.models.registry import ModelRegistry, check_name
from inhouse.models.store import Evaluation, ModelVersion, Variant
from inhouse.training.variants import INT4, MAY_LOSE, ONNX, check_variants, most_loss
from inhouse.training.versions.archives import unpack
from inhouse.training.versions.bundle import bundle
from inhouse.training.versions.comparison import Comparison, compare
from inhouse.training.versions.explain import Explainer
from inhouse.training.versions.workers import Workers, WorkInterrupted

EXPORT, EVALUATE = "models.export", "models.evaluate"
SPLITS = ("test", "dev", "train")


class NoRows(Invalid):
    """There is nothing to measure on."""


class NotReady(Conflict):
    """The evaluation has not ended, or not well."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a split of a dataset version."""

    dataset: str
    version: int
    split: str = "test"


class DatasetVersion(Protocol):
    @property
    def number(self) -> int: ...

    @property
    def splits(self) -> Mapping[str, int]: ...


class DatasetExport(Protocol):
    """Where rows come from."""

    def get(self, principal: Principal, name: str, number: int | None = None) -> DatasetVersion: ...

    def export(self, principal: Principal, name: str, number: int, directory: Path) -> object: ...


class Versions:
    """Works on the versions of the registry. Make it before the job runner is launched."""

    def __init__(
        self,
        registry: ModelRegistry,
        jobs: Jobs,
        datasets: DatasetExport,
        blobs: Blobs,
        directory: Path,
    ) -> None:
        self.registry = registry
        self._jobs = jobs
        self._datasets = datasets
        self._blobs = blobs
        self._directory = directory
        self._workers = Workers()
        self._explainer = Explainer()
        jobs.register(EXPORT, self._run_export)
        jobs.register(EVALUATE, self._run_evaluation)

    def close(self) -> None:
        """End what is under way; it is to be asked for again."""
        self._workers.close()
        self._explainer.close()

    def export(
        self,
        principal: Principal,
        name: str,
        number: int,
        variants: Sequence[str] = (),
        *,
        rows: Rows | None = None,
        max_loss: float | None = None,
    ) -> list[Variant]:
        """Queue the making and measuring of variants; all of them by default, on the version's own test rows.

        A language model that comes from no dataset is measured on what it writes itself.
        """
        version = self.registry.get(principal, name, number)
        wanted = check_variants(version.kind, list(variants))
        if rows is None and (version.kind != "chat" or version.lineage.get("dataset")):
            rows = self._own_rows(principal, version)
        if rows is not None:
            self._check(principal, rows)
        job_id = new_id("export")
        queued = [Variant(one, "queued", figures={"job": job_id}) for one in wanted]
        for variant in queued:
            self.registry.put_variant(principal, name, number, variant)
        arguments = {
            "workspace_id": principal.workspace_id,
            "user_id": principal.user_id,
            "model": name,
            "number": number,
            "variants": wanted,
            "rows": [rows.dataset, rows.version, rows.split] if rows else None,
            "max_loss": most_loss(version.kind) if max_loss is None else max_loss,
        }
        self._jobs.submit(EXPORT, arguments, job_id=job_id)
        return queued

    def variants(self, principal: Principal, name: str, number: int) -> list[Variant]:
        """What there is. One whose job was lost is failed, so that nobody waits for it."""
        found = self.registry.variants(principal, name, number)
        for variant in found:
            if variant.status == "queued" and not self._is_alive(variant.figures.get("job", "")):
                lost = Variant(variant.name, "failed", reason="The server was stopped meanwhile: ask for it again.")
                self.registry.put_variant(principal, name, number, lost)
        return self.registry.variants(principal, name, number)

    def evaluate(self, principal: Principal, name: str, number: int, rows: Rows | None = None) -> Evaluation:
        """Queue an evaluation; on the version's own test rows unless others are named."""
        version = self.registry.get(principal, name, number)
        rows = rows or self._own_rows(principal, version)
        self._check(principal, rows)
        evaluation = Evaluation(
            id=new_id("evaluation"),
            model=name,
            number=number,
            dataset=rows.dataset,
            dataset_version=rows.version,
            split=rows.split,
            owner_id=principal.user_id,
            created_at=now(),
        )
        self.registry.put_evaluation(principal, evaluation)
        arguments = {"workspace_id": principal.workspace_id, "evaluation": evaluation.id}
        self._jobs.submit(EVALUATE, arguments, job_id=evaluation.id)
        return evaluation

    def evaluation(self, principal: Principal, evaluation_id: str) -> Evaluation:
        found = self.registry.evaluation(principal, evaluation_id)
        if found.status == "queued" and not self._is_alive(found.id):
            found = self.registry.evaluation(principal, evaluation_id)  # it may have ended just now
            if found.status == "queued":
                lost = replace(found, status="failed", error="The server was stopped meanwhile: ask for it again.")
                return self.registry.put_evaluation(principal, lost)
        return found

    def report(self, principal: Principal, evaluation_id: str) -> dict[str, Any]:
        """The whole report of an evaluation that has ended: per class, confusion, reliability, and every row."""
        found = self.evaluation(principal, evaluation_id)
        if found.status != "ready":
            raise NotReady(
                f"The evaluation {evaluation_id!r} is {found.status}.", hint=found.error or "Ask again soon."
            )
        return json.loads(self._blobs.get(found.report))

    def compare(self, principal: Principal, name: str, a: int, b: int, *, rows: Rows | None = None) -> Comparison:
        """Version A against version B, on the rows that both were last evaluated on."""
        one, other = self.registry.get(principal, name, a), self.registry.get(principal, name, b)
        pair = self._shared(principal, one, other, rows)
        reports = tuple(json.loads(self._blobs.get(evaluation.report)) for evaluation in pair)
        return compare(one, other, pair, reports)

    def explain(
        self, principal: Principal, name: str, number: int, text: str, *, other: str = "", label: str = ""
    ) -> dict[str, Any]:
        """Which parts of a text speak for a label (by default the one that the version says), and how much."""
        directory = self.registry.directory(principal, name, number)
        return self._explainer.explain(directory, text, other=other, label=label)

    def import_directory(
        self, principal: Principal, name: str, source: Path, *, kind: str = "", note: str = ""
    ) -> ModelVersion:
        """Register a directory in the layout of Hugging Face as the model's next version."""
        check_name(name)
        with self._desk() as desk:
            lineage = {"source": source.name, "imported_by": principal.user_id}
            done = self._workers.run(
                desk,
                task="import",
                source=str(source),
                directory=str(desk / "artifact"),
                kind=kind,
                lineage=lineage,
            )
            version = self.registry.register(
                principal, name, desk / "artifact", kind=done["kind"], metrics={}, lineage=done["lineage"]
            )
        return self.registry.annotate(principal, name, version.number, note=note) if note else version

    def import_archive(
        self, principal: Principal, name: str, file: BinaryIO, *, kind: str = "", note: str = ""
    ) -> ModelVersion:
        """The same from an uploaded zip or tar file."""
        check_name(name)
        with self._desk() as desk:
            source = unpack(file, desk / "upload")
            return self.import_directory(principal, name, source, kind=kind, note=note)

    def archive(self, principal: Principal, name: str, number: int, *, variant: str = "", edge: bool = False) -> bytes:
        """The files of a version or variant as a zip; for the edge with what runs them, and small if that is good."""
        version = self.registry.get(principal, name, number)
        if edge:
            ready = {one.name for one in self.registry.variants(principal, name, number) if one.status == "ready"}
            chosen = variant or ("int8" if "int8" in ready else "")
            return bundle(version, self.registry.directory(principal, name, number, variant=chosen), variant=chosen)
        directory = self.registry.directory(principal, name, number, variant=variant)
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(directory.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(directory).as_posix())
        return packed.getvalue()

    def _run_export(self, _context: JobContext, arguments: JsonDict) -> None:
        principal = Principal(arguments["workspace_id"], arguments["user_id"], frozenset({"*"}))
        name, number = arguments["model"], arguments["number"]
        version = self.registry.get(principal, name, number)
        if version.kind == "chat":
            self._run_int4(principal, version, arguments)
            return
        wanted = dict.fromkeys([ONNX, *arguments["variants"]])
        with self._desk() as desk:
            failure, rows = "", desk / "rows"
            reference: dict[str, Any] = {}
            try:
                rows = self._exported(principal, Rows(*arguments["rows"]), desk / "rows")
            except InhouseError as error:
                failure = f"{error.message} {error.hint}".strip()
            for one in wanted:
                if failure:
                    made, files = Variant(one, "failed", reason=failure), None
                else:
                    made, files = self._make(principal, version, one, desk, rows, reference, arguments["max_loss"])
                if one == ONNX:
                    reference = made.figures
                    failure = f"The version itself could not be measured: {made.reason}" if made.reason else ""
                self.registry.put_variant(principal, name, number, made, files)

    def _run_int4(self, principal: Principal, version: ModelVersion, arguments: JsonDict) -> None:
        """Language models are judged by what rounding does to their perplexity."""
        files: Path | None = None
        with self._desk() as desk:
            try:
                if arguments["rows"]:
                    self._exported(principal, Rows(*arguments["rows"]), desk / "rows")
                figures = self._workers.run(
                    desk,
                    task="int4",
                    artifact=str(self.registry.directory(principal, version.model, version.number)),
                    directory=str(desk / INT4),
                    rows=str(desk / "rows") if arguments["rows"] else "",
                )
            except InhouseError as error:
                made = Variant(INT4, "failed", reason=f"{error.message} {error.hint}".strip())
            else:
                made, files = _judged(INT4, figures, desk / INT4, arguments["max_loss"])
            self.registry.put_variant(principal, version.model, version.number, made, files)

    def _make(
        self,
        principal: Principal,
        version: ModelVersion,
        name: str,
        desk: Path,
        rows: Path,
        reference: Mapping[str, Any],
        max_loss: float,
    ) -> tuple[Variant, Path | None]:
        """Write a variant, measure it in a fresh process, and say whether it may be kept."""
        directory = desk / name
        artifact = self.registry.directory(principal, version.model, version.number)
        try:
            self._workers.run(desk, task="write", variant=name, artifact=str(artifact), directory=str(directory))
            figures = self._workers.run(
                desk,
                task="measure",
                variant=name,
                kind=version.kind,
                directory=str(directory),
                rows=str(rows),
                outputs=str(desk / "outputs.npy"),
                reference=dict(reference),
            )
        except WorkInterrupted as error:
            return Variant(name, "failed", reason=f"{error.message} {error.hint}"), None
        except Invalid as error:
            return Variant(name, "failed", reason=f"{error.message} {error.hint}".strip()), None
        return _judged(name, figures, directory, max_loss)

    def _run_evaluation(self, _context: JobContext, arguments: JsonDict) -> None:
        principal = Principal.system(arguments["workspace_id"])
        evaluation = self.registry.evaluation(principal, arguments["evaluation"])
        try:
            with self._desk() as desk:
                rows = Rows(evaluation.dataset, evaluation.dataset_version, evaluation.split)
                self._exported(principal, rows, desk / "rows")
                directory = self.registry.directory(principal, evaluation.model, evaluation.number)
                report = self._workers.run(
                    desk, task="evaluate", directory=str(directory), rows=str(desk / "rows"), split=evaluation.split
                )
        except InhouseError as error:
            ended = replace(evaluation, status="failed", error=f"{error.message} {error.hint}".strip())
        else:
            content = json.dumps(report, ensure_ascii=False).encode()
            ended = replace(evaluation, status="ready", metrics=report["metrics"], report=self._blobs.put(content))
        self.registry.put_evaluation(principal, ended)

    def _own_rows(self, principal: Principal, version: ModelVersion) -> Rows:
        """The rows that the version was judged on when it was made."""
        reference = version.lineage.get("dataset")
        if not reference:
            raise NoRows(f"{version.reference} does not come from a dataset.", hint="Name one to measure it on.")
        name, number = split_reference(reference)
        splits = self._datasets.get(principal, name, number).splits
        return Rows(name, number, next((split for split in SPLITS if splits.get(split)), "test"))

    def _check(self, principal: Principal, rows: Rows) -> None:
        splits = self._datasets.get(principal, rows.dataset, rows.version).splits
        if not splits.get(rows.split):
            held = ", ".join(f"{split} ({count})" for split, count in splits.items())
            raise NoRows(f"{rows.dataset}@v{rows.version} has no rows in {rows.split!r}.", hint=f"It has: {held}.")

    def _exported(self, principal: Principal, rows: Rows, directory: Path) -> Path:
        self._datasets.export(principal, rows.dataset, rows.version, directory)
        return directory / f"{rows.split}.jsonl"

    def _shared(
        self, principal: Principal, a: ModelVersion, b: ModelVersion, rows: Rows | None
    ) -> tuple[Evaluation, ...]:
        """The newest evaluation of each version on rows that both were evaluated on; nothing where there are none."""
        ours, theirs = (self._judged(principal, version, rows) for version in (a, b))
        for key, evaluation in ours.items():
            if key in theirs:
                return evaluation, theirs[key]
        return ()

    def _judged(self, principal: Principal, version: ModelVersion, rows: Rows | None) -> dict[Rows, Evaluation]:
        found: dict[Rows, Evaluation] = {}
        for one in self.registry.evaluations(principal, version.model, version.number):
            key = Rows(one.dataset, one.dataset_version, one.split)
            if one.status == "ready" and rows in (None, key):
                found.setdefault(key, one)
        return found

    def _is_alive(self, job_id: str) -> bool:
        try:
            return self._jobs.get(job_id).status in ("queued", "running")
        except UnknownJob:
            return False

    @contextmanager
    def _desk(self) -> Generator[Path]:
        """A directory to work in, gone afterwards."""
        directory = self._directory / new_id("desk")
        directory.mkdir(parents=True)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _judged(name: str, figures: dict[str, Any], directory: Path, max_loss: float) -> tuple[Variant, Path | None]:
    """Whether a variant is good enough to be kept."""
    if name in MAY_LOSE and figures["loss"] > max_loss:
        reason = f"It loses {figures['loss']:.2f} points, more than the {max_loss:g} that are allowed."
        return Variant(name, "refused", reason=reason, figures=figures), None
    return Variant(name, "ready", figures=figures), directory
