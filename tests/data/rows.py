"""Rows of every form, for hypothesis to choose from."""

from typing import Any

from hypothesis import strategies as st

from inhouse.data.columns import table_text
from inhouse.data.conversation import last_question
from inhouse.data.examples import Example, Form, key

SPLITS = st.sampled_from(["train", "dev", "test"])
LETTERS = (
    st.characters(exclude_categories=["Cs", "Cc", "Cn"])
    | st.sampled_from("=+-@'|\"[{,;\t\n #")
    | st.characters(min_codepoint=0x4E00, max_codepoint=0x4E20)
)
TEXTS = st.text(LETTERS, min_size=1, max_size=30).map(str.strip).filter(bool)
LABELS = st.text(LETTERS, min_size=1, max_size=8).map(str.strip).filter(bool)
NAMES = st.text("abcdefgh", min_size=1, max_size=4)
META = st.dictionaries(NAMES, TEXTS | st.integers(-9, 9) | st.lists(TEXTS, max_size=2), max_size=2)


@st.composite
def texts(draw: st.DrawFn) -> Example:
    labels = draw(st.lists(LABELS, min_size=1, max_size=3, unique=True))
    content = {"labels": labels} if len(labels) > 1 else {}
    return Example(draw(TEXTS), labels[0], content=content, **draw(ABOUT))


@st.composite
def spans(draw: st.DrawFn, overlap: bool = True) -> Example:
    text = draw(st.text(LETTERS, min_size=1, max_size=30).filter(str.strip))
    cuts = draw(st.lists(st.integers(0, len(text)), max_size=6, unique=True).map(sorted))
    marked: list[dict[str, Any]] = []
    for start, end in zip(cuts[::2], cuts[1::2], strict=False):
        if overlap or text[start:end] == text[start:end].strip():
            marked.append({"start": start, "end": end, "label": draw(NAMES)})
    if overlap and marked:
        marked.append({"start": 0, "end": len(text), "label": draw(NAMES)})
    marked.sort(key=lambda span: (span["start"], span["end"], span["label"]))
    return Example(text, content={"spans": marked}, **draw(ABOUT))


@st.composite
def pairs(draw: st.DrawFn) -> Example:
    content: dict[str, Any] = {"other": draw(TEXTS)}
    content |= draw(st.fixed_dictionaries({}, optional={"score": st.integers(0, 1000).map(lambda n: n / 1000)}))
    content |= draw(st.fixed_dictionaries({}, optional={"negatives": st.lists(TEXTS, min_size=1, max_size=2)}))
    return Example(draw(TEXTS), content=content, **draw(ABOUT))


@st.composite
def messages(draw: st.DrawFn) -> list[dict[str, str]]:
    """Questions and answers in turns, ending with a question."""
    said = [{"role": "system", "content": draw(TEXTS)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 2))):
        said += [{"role": "user", "content": draw(TEXTS)}, {"role": "assistant", "content": draw(TEXTS)}]
    return [*said, {"role": "user", "content": draw(TEXTS)}]


@st.composite
def chats(draw: st.DrawFn) -> Example:
    said = [*draw(messages()), {"role": "assistant", "content": draw(TEXTS)}]
    return Example(last_question(said), content={"messages": said}, **draw(ABOUT))


@st.composite
def preferences(draw: st.DrawFn) -> Example:
    said = draw(messages())
    chosen, rejected = draw(st.lists(TEXTS, min_size=2, max_size=2, unique=True))
    content = {"messages": said, "chosen": chosen, "rejected": rejected}
    return Example(last_question(said), content=content, **draw(ABOUT))


@st.composite
def ratings(draw: st.DrawFn) -> Example:
    said = draw(messages())
    content = {"messages": said, "answer": draw(TEXTS), "good": draw(st.booleans())}
    return Example(last_question(said), content=content, **draw(ABOUT))


@st.composite
def table_rows(draw: st.DrawFn) -> Example:
    features = {
        "age": draw(st.integers(-100, 100) | st.none()),
        "height": draw(st.sampled_from([0.5, 1, 1.75, 2.25e-7])),
        "town": draw(st.none() | TEXTS.filter(lambda text: not any(letter.isdecimal() for letter in text))),
    }
    return Example(table_text(features), draw(LABELS), content={"features": features}, **draw(ABOUT))


ABOUT = st.fixed_dictionaries(
    {"split": SPLITS},
    optional={"source": st.sampled_from(["synthetic:typo", "feedback:f1", "label:desk"]), "user": NAMES, "meta": META},
).map(lambda about: {**about, "split": "train"} if about.get("source") == "synthetic:typo" else about)

ROWS: dict[Form, st.SearchStrategy[Example]] = {
    Form.TEXT: texts(),
    Form.SPANS: spans(),
    Form.PAIR: pairs(),
    Form.CHAT: chats(),
    Form.PREFERENCE: preferences(),
    Form.RATING: ratings(),
    Form.TABLE: table_rows(),
}


def several(form: Form, rows: st.SearchStrategy[Example] | None = None) -> st.SearchStrategy[list[Example]]:
    """Rows of a form, none of which says the same as another."""
    return st.lists(ROWS[form] if rows is None else rows, min_size=1, max_size=6, unique_by=lambda row: key(row, form))
