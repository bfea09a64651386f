"""The example workflow of the help desk, with stand-ins for the models and documents."""

import json
import runpy
from pathlib import Path

import pytest

from inhouse.testing.services import FixedPassage, FixedPredictor, FixedRetriever, ScriptedChatModel, fixed_services
from inhouse.workflow.context import Services
from inhouse.workflow.document import read_document
from inhouse.workflow.events import RunFinished
from inhouse.workflow.graph import Compiled, compile_graph

from .conftest import Play

EXAMPLE = Path(__file__).parents[2] / "examples" / "helpdesk"
INTENTS = {"remote_work": {"search": {"en": "remote work working from home", "zh": "远程办公 居家办公"}}}
POLICIES = [
    FixedPassage(
        "attendance.en.docx", "Remote work: up to two days of working from home a week.", page=3, title="Time"
    ),
    FixedPassage("attendance.zh.pdf", "远程办公 每周最多两天 居家办公", page=2, title="考勤"),
]


@pytest.fixture(scope="module")
def desk() -> Compiled:
    with_words = runpy.run_path(str(EXAMPLE / "build_workflow.py"))["with_words"]
    text = (EXAMPLE / "workflow.yml").read_text("utf-8")
    return compile_graph(read_document(with_words(text, INTENTS)))


def services(chat: ScriptedChatModel, retriever: FixedRetriever | None = None, **labels: str) -> Services:
    return fixed_services(
        chat=chat,
        predictor=FixedPredictor({text.replace("_", " "): label for text, label in labels.items()}),
        retriever=retriever or FixedRetriever({"helpdesk-policies": POLICIES}),
    )


async def answer(play: Play, desk: Compiled, question: str, use: Services) -> str:
    finished = (await play(desk, question, services=use))[-1]
    assert isinstance(finished, RunFinished)
    assert finished.status == "succeeded"
    return str(finished.outputs["answer"])


async def test_a_question_is_answered_from_its_passages(play: Play, desk: Compiled) -> None:
    chat = ScriptedChatModel(("Two days [1].",))

    said = await answer(play, desk, "remote work", services(chat))

    assert said == "Two days [1]."
    assert '<source id="1" title="Time" page="3">' in str(chat.requests[0].messages[0]["content"])
    assert chat.requests[0].messages[-1]["content"] == "remote work"


async def test_a_nickname_finds_its_document_once_the_intent_is_known(play: Play, desk: Compiled) -> None:
    chat = ScriptedChatModel(("Two days [1].",))
    retriever = FixedRetriever({"helpdesk-policies": POLICIES})

    said = await answer(play, desk, "turtle day", services(chat, retriever, turtle_day="remote_work"))

    assert said == "Two days [1]."
    assert retriever.queries[0] == "turtle day (remote work working from home)"


async def test_a_chinese_question_gets_chinese_search_words(play: Play, desk: Compiled) -> None:
    retriever = FixedRetriever({"helpdesk-policies": POLICIES})

    await answer(play, desk, "海龟日", services(ScriptedChatModel(("两天",)), retriever, 海龟日="remote_work"))

    assert retriever.queries[0] == "海龟日 (远程办公 居家办公)"


@pytest.mark.parametrize(("question", "words"), [("turtle soup", "don't cover"), ("海龟汤", "没有查到")])
async def test_a_question_that_nothing_covers_is_refused_in_its_language(
    play: Play, desk: Compiled, question: str, words: str
) -> None:
    chat = ScriptedChatModel()

    said = await answer(play, desk, question, services(chat))

    assert words in said
    assert "it-help@mingshan.example" in said
    assert chat.requests == []


@pytest.mark.parametrize(
    ("question", "known", "is_answered"),
    [
        ("three days from home", {}, True),
        ("home moons jokes rocks stars", {}, False),
        ("home moons jokes rocks stars", {"home_moons_jokes_rocks_stars": "remote_work"}, True),
        ("home moons jokes", {"home_moons_jokes": "out_of_scope"}, False),
    ],
)
async def test_the_less_sure_the_intent_the_more_of_the_question_the_documents_must_cover(
    play: Play, desk: Compiled, question: str, known: dict[str, str], is_answered: bool
) -> None:
    chat = ScriptedChatModel(("Two.",))

    await answer(play, desk, question, services(chat, **known))

    assert bool(chat.requests) is is_answered


@pytest.mark.parametrize(
    ("question", "label", "words"),
    [
        ("hello", "greeting", "Hello! I'm"),
        ("你好", "greeting", "您好！"),
        ("a person", "human_agent", "a colleague will help you"),
        ("转人工", "human_agent", "请直接联系同事"),
    ],
)
async def test_small_talk_is_answered_at_once(
    play: Play, desk: Compiled, question: str, label: str, words: str
) -> None:
    chat = ScriptedChatModel()

    said = await answer(play, desk, question, services(chat, **{question: label}))

    assert words in said
    assert chat.requests == []


def test_the_search_words_are_those_of_the_intents() -> None:
    with_words = runpy.run_path(str(EXAMPLE / "build_workflow.py"))["with_words"]
    text = (EXAMPLE / "workflow.yml").read_text("utf-8")

    assert with_words(text, json.loads((EXAMPLE / "intents.json").read_text("utf-8"))) == text
