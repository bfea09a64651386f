"""`inhouse demo`: the whole loop on the help-desk example, from documents to a better version that proved itself."""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from inhouse.cli import helpdesk
from inhouse.cli.connection import Connection
from inhouse.cli.helpdesk import MODEL, NAME, Helpdesk, Question
from inhouse.cli.output import say
from inhouse.cli.private import private_server
from inhouse.core.errors import InhouseError

if TYPE_CHECKING:
    from inhouse.client import Client

SHARE = 0.2
CANARY_ASKS = 120
POISONED = 240
POISONERS = 6
AT_ONCE = 4


@dataclass(slots=True)
class Step:
    """One step of the demo: what it was, whether it did what it says, and its figures."""

    name: str
    ok: bool = False
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)


def demo(
    context: typer.Context,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on stdout."),
) -> None:
    """Run the complete loop on real input, on a private server unless --url names one.

    Exit code 0 only if every step did what it says.
    """
    connection: Connection = context.obj
    with ExitStack() as closing:
        from inhouse.client import Client

        if connection.names_server:
            client = connection.client
        else:
            client = closing.enter_context(Client(*closing.enter_context(private_server())))
        progress = closing.enter_context(_progress())
        loop = _Demo(client, Helpdesk(), progress)
        loop.run()
    ok = all(step.ok for step in loop.steps)
    if as_json or connection.output == "json":
        print(json.dumps({"steps": [asdict(step) for step in loop.steps], "ok": ok}, ensure_ascii=False))
    else:
        _print_table(loop.steps, ok)
    if not ok:
        raise typer.Exit(1)


class _Demo:
    """The steps in order; the first that fails ends the demo."""

    def __init__(self, client: "Client", example: Helpdesk, progress: Progress) -> None:
        self.steps: list[Step] = []
        self._client = client
        self._example = example
        self._progress = progress
        self._before: dict[str, str] = {}
        self._wrong: list[dict[str, Any]] = []
        self._v1 = self._v2 = 0
        self._release = ""

    def run(self) -> None:
        plan: list[tuple[str, Callable[[Step], bool]]] = [
            ("Ingest the policy documents", self._ingest),
            ("Create dataset v1", self._dataset),
            ("Train intent classifier v1", self._train),
            ("Register and serve it", self._serve),
            ("Import the workflow", self._workflow),
            ("Ask 10 questions", self._ask),
            ("Colleagues correct what was wrong", self._correct),
            ("Accept them into dataset v2", self._accept),
            ("Retrain: version 2", self._retrain),
            ("Gate: both on the same test rows", self._gate),
            ("Canary with 20 % of the traffic", self._canary),
            ("Promote", self._promote),
            ("Ask other phrasings, never trained on", self._check),
            ("A poisoned batch of feedback", self._poison),
            ("Gate refuses it, live stays", self._refuse),
        ]
        for name, work in plan:
            step = Step(name)
            self.steps.append(step)
            task = self._progress.add_task(name, total=None, note="")
            self._note = lambda text, task=task: self._progress.update(task, note=text)
            self._advance = lambda done, total, task=task: self._progress.update(task, completed=done, total=total)
            started = time.monotonic()
            try:
                step.ok = work(step)
            except InhouseError as error:
                step.figures["error"] = f"{error.message} {error.hint}".strip()
            step.seconds = round(time.monotonic() - started, 2)
            mark = "[green]✓[/green]" if step.ok else "[red]✗[/red]"
            self._progress.update(task, completed=1, total=1, description=f"{mark} {name}", note=_brief(step.figures))
            self._progress.stop_task(task)
            if not step.ok:
                return

    def _ingest(self, step: Step) -> bool:
        def watch(documents: Sequence[Any]) -> None:
            self._advance(sum(one["status"] in ("ready", "failed") for one in documents), len(documents))

        documents = helpdesk.ingest(self._client, self._example, watch)
        step.figures = {
            "documents": len(documents),
            "pages": sum(one["pages"] or 1 for one in documents),
            "passages": sum(one["chunks"] for one in documents),
        }
        return len(documents) == len(self._example.policies)

    def _dataset(self, step: Step) -> bool:
        version = self._client.datasets.create(NAME, self._example.intents)
        step.figures = {"rows": version["count"], "labels": len(version["labels"]), **version["splits"]}
        return version["number"] == 1

    def _train(self, step: Step) -> bool:
        run = helpdesk.train(self._client, self._watch_run)
        self._v1 = run["model_version"]
        worst = [f"{one['label']} → {one['predicted']}" for one in run["metrics"]["confusions"][:3]]
        step.figures = {"held_out_accuracy": run["metrics"]["accuracy"], "worst_confusions": worst}
        return run["metrics"]["accuracy"] > 0.8

    def _serve(self, step: Step) -> bool:
        self._client.releases.start(MODEL, self._v1)
        found = self._client.models.predict(MODEL, ["How do I reset my password?", "忘记密码了怎么办"])
        step.figures = {"live_version": self._v1, "predictions": [one.get("prediction") for one in found]}
        return step.figures["predictions"] == ["password_reset"] * 2

    def _workflow(self, step: Step) -> bool:
        version = helpdesk.publish(self._client, self._example)
        step.figures = {"workflow_version": version["number"], "app": NAME}
        return True

    def _ask(self, step: Step) -> bool:
        """Ordinary questions are answered from the right document, one is refused, nicknames mislead version 1."""
        unseen = self._never_seen()
        right = refused = missed = 0
        for question in self._example.questions:
            message = self._client.apps.chat(NAME, question.text)
            is_right = self._is_right(question, message)
            if question.term is not None:
                missed += not is_right
            elif question.answerable:
                right += is_right
            else:
                refused += is_right
            self._print_answer(question, message, is_right)
        ordinary = sum(one.term is None and one.answerable for one in self._example.questions)
        nicknames = sum(one.term is not None for one in self._example.questions)
        step.figures = {
            "answered_with_right_source": f"{right} of {ordinary}",
            "refused": refused,
            "nicknames_missed": f"{missed} of {nicknames}",
            "nicknames_never_seen": unseen,
        }
        return right == ordinary and refused == 1 and missed > 0 and bool(unseen)

    def _correct(self, step: Step) -> bool:
        """Colleagues ask with nicknames; whoever gets a wrong intent says 👎 and names the right one."""
        asked = [(text, one.label) for one in self._example.corrections for text in one.ask]
        for done, (text, label) in enumerate(asked):
            message = self._client.apps.chat(NAME, text)
            if _intent(message) != label:
                self._client.apps.feedback(message["id"], "down", reason="Wrong topic", label=label)
                self._wrong.append({"message_id": message["id"], "text": text, "label": label})
            self._advance(done + 1, len(asked))
        step.figures = {"asked": len(asked), "wrong_and_corrected": len(self._wrong)}
        return len(self._wrong) > 0

    def _accept(self, step: Step) -> bool:
        for item in self._client.feedback.list("open"):
            self._client.loop.accept(item["id"])
        made = self._client.loop.dataset(MODEL)
        step.figures = {"corrections": len(self._wrong), "rows": made["version"]["count"]}
        return made["version"]["number"] == 2

    def _retrain(self, step: Step) -> bool:
        run = helpdesk.finished(self._client, self._client.loop.retrain(MODEL), self._watch_run)
        self._v2 = run["model_version"]
        step.figures = {"version": self._v2, "held_out_accuracy": run["metrics"]["accuracy"]}
        return self._v2 == self._v1 + 1

    def _gate(self, step: Step) -> bool:
        verdict = self._client.loop.gate(MODEL, self._v2)
        step.figures = _verdict(verdict)
        return verdict["decision"] == "promote"

    def _canary(self, step: Step) -> bool:
        release = self._client.releases.start(MODEL, self._v2, share=SHARE)
        self._release = release["id"]
        texts = [question.text for question in self._example.questions if question.term is None]
        served = self._ask_all([texts[n % len(texts)] for n in range(CANARY_ASKS)])
        on_candidate = sum(message["model_versions"][MODEL] == self._v2 for message in served)
        step.figures = {"asked": CANARY_ASKS, "answered_by_version_2": on_candidate}
        return 0.08 < on_candidate / CANARY_ASKS < 0.36  # 4 standard deviations around 20 %

    def _promote(self, step: Step) -> bool:
        self._client.releases.promote(self._release)
        aliases = self._client.models.get(MODEL)["aliases"]
        step.figures = {"live_version": aliases["live"]}
        return aliases["live"] == self._v2

    def _check(self, step: Step) -> bool:
        """The same checks on both versions; the answers come through the app, from the promoted one."""
        cases = [(text, one.label, one.topic) for one in self._example.corrections for text in one.check]
        texts = [text for text, _, _ in cases]
        before = self._client.models.predict(MODEL, texts, version=self._v1)
        was_right = sum(found.get("prediction") == label for found, (_, label, _) in zip(before, cases, strict=True))
        messages = self._ask_all(texts)
        now_right = sum(_intent(message) == label for message, (_, label, _) in zip(messages, cases, strict=True))
        sourced = sum(_topics(message)[:1] == [topic] for message, (_, _, topic) in zip(messages, cases, strict=True))
        step.figures = {
            "phrasings": len(cases),
            "right_before": was_right,
            "right_now": now_right,
            "answered_from_right_document": sourced,
        }
        return now_right / len(cases) >= 0.8 and now_right - was_right >= 0.3 * len(cases)

    def _poison(self, step: Step) -> bool:
        """Several accounts 'correct' right answers to shuffled labels, and a careless reviewer accepts them all."""
        dice = random.Random(7)
        rows = self._client.datasets.examples(NAME, 1, split="train", limit=1000)["items"]
        chosen = dice.sample(rows, POISONED)
        labels = [row["label"] for row in chosen]
        dice.shuffle(labels)
        keys = [self._client.keys.create(f"poisoner {n}", ["app:use", "feedback:write"]) for n in range(POISONERS)]
        with ThreadPoolExecutor(POISONERS) as pool:
            parts = [list(zip(chosen, labels, strict=True))[n::POISONERS] for n in range(POISONERS)]
            list(pool.map(self._poison_as, [key["key"] for key in keys], parts))
        for key in keys:
            self._client.keys.revoke(key["id"])
        items = self._client.feedback.list("open")
        for done, item in enumerate(items):
            self._client.loop.accept(item["id"])
            self._advance(done + 1, len(items))
        made = self._client.loop.dataset(MODEL)
        run = helpdesk.finished(self._client, self._client.loop.retrain(MODEL), self._watch_run)
        step.figures = {
            "shuffled_labels": len(items),
            "dataset_version": made["version"]["number"],
            "candidate": run["model_version"],
            "held_out_accuracy": run["metrics"]["accuracy"],
        }
        return run["model_version"] == self._v2 + 1

    def _refuse(self, step: Step) -> bool:
        verdict = self._client.loop.gate(MODEL, self._v2 + 1)
        try:
            self._client.releases.start(MODEL, self._v2 + 1, share=SHARE)
            released = True
        except InhouseError:
            released = False
        live = self._client.models.get(MODEL)["aliases"]["live"]
        step.figures = {**_verdict(verdict), "release_refused": not released, "live_version": live}
        return verdict["decision"] == "reject" and not released and live == self._v2

    def _poison_as(self, key: str, rows: Sequence[tuple[Any, str]]) -> None:
        from inhouse.client import Client

        with Client(self._client.base_url, key) as client:
            for row, label in rows:
                message = client.apps.chat(NAME, row["text"])
                client.apps.feedback(message["id"], "down", label=label)

    def _ask_all(self, texts: Sequence[str]) -> list[Any]:
        done = 0

        def ask(text: str) -> Any:
            nonlocal done
            message = self._client.apps.chat(NAME, text)
            done += 1
            self._advance(done, len(texts))
            return message

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(ask, texts))

    def _never_seen(self) -> list[str]:
        """The nicknames that no row of dataset v1 holds, looked up in all of its rows."""
        seen = ""
        total = offset = 0
        while offset == 0 or offset < total:
            page = self._client.datasets.examples(NAME, 1, limit=1000, offset=offset)
            seen += "\n".join(row["text"].lower() for row in page["items"]) + "\n"
            total, offset = page["total"], offset + 1000
        terms = [term for one in self._example.corrections for term in one.term.values()]
        return [term for term in terms if term.lower() not in seen]

    def _is_right(self, question: Question, message: Any) -> bool:
        """Answered from the right policy, or refused without a source where no policy has the answer."""
        if not question.answerable:
            return message["sources"] == []
        return _topics(message)[:1] == [question.topic]

    def _print_answer(self, question: Question, message: Any, is_right: bool) -> None:
        mark = "[green]✓[/green]" if is_right else "[yellow]✗[/yellow]"
        first = next(iter(message["sources"]), None)
        place = "no source" if first is None else first["document"] + (f" p. {first['page']}" if first["page"] else "")
        answer = message["answer"].strip().replace("\n", " ")
        self._progress.console.print(f"  {mark} {question.text}", highlight=False)
        self._progress.console.print(f"      {answer[:110]}…  ({place})", style="dim", highlight=False, markup=False)

    def _watch_run(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "step":
            self._note(f"loss {event['loss']:.3f}")
        elif event["type"] == "eval":
            self._note(f"epoch {event['epoch']}  dev accuracy {event['accuracy']:.1%}")


def _intent(message: Any) -> str | None:
    return message["intent"]["label"] if message["intent"] else None


def _topics(message: Any) -> list[str]:
    """The policies that an answer's sources belong to, the cited ones first: `leave.en.pdf` -> `leave`."""
    return [source["document"].partition(".")[0] for source in message["sources"]]


def _verdict(verdict: Any) -> dict[str, Any]:
    reasons = {reason["code"]: reason["figures"] for reason in verdict["reasons"]}
    test = next(figures for code, figures in reasons.items() if code.startswith("test_"))
    golden = next(figures for code, figures in reasons.items() if code.startswith("golden_"))
    return {
        "verdict": verdict["decision"].upper(),
        "reasons": list(reasons),
        "test_accuracy": f"{test['live_accuracy']:.1%} → {test['candidate_accuracy']:.1%} (p = {test['p']:.3g})",
        "golden_cases": f"{golden['live_right']} → {golden['candidate_right']} of {golden['cases']}",
    }


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=say,
    )


def _brief(figures: dict[str, Any]) -> str:
    return "  ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in list(figures.items())[:3])


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _print_table(steps: Sequence[Step], ok: bool) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("", "Step", "Seconds", "Figures"):
        table.add_column(heading, justify="right" if heading == "Seconds" else "left", overflow="fold")
    for step in steps:
        figures = "\n".join(f"{name.replace('_', ' ')}: {_short(value)}" for name, value in step.figures.items())
        table.add_row("✓" if step.ok else "✗", step.name, f"{step.seconds:.1f}", figures)
    console = Console(highlight=False)
    console.print(table)
    console.print("Every step did what it says." if ok else "The last step shown did not do what it says.")
