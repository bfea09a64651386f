"""Input that people and attackers send: a clear error with a way out, and nothing lost or run."""

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.conftest import graph, post_odd, wait_for_documents

HEADER = b"text,label\n"
GBK = "文本,标签\n年假有多少天,请假\n怎么报销差旅费,报销\n我的密码忘了,账号\n年假怎么申请,请假\n".encode("gbk")
NO_PAGES = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
    b"trailer<</Root 1 0 R>>\n%%EOF"
)
GRAPH = graph()


def fresh(word: str) -> str:
    return f"{word}-{time.monotonic_ns()}"


def told(answer: httpx.Response) -> dict[str, Any]:
    """The error of an answer; each says what happened and what to do."""
    error = answer.json()["error"]
    assert all((error["message"], error["hint"])), error
    return error


@pytest.mark.parametrize(
    ("filename", "data", "code"),
    [
        ("a.csv", b"", "file_unreadable"),
        ("a.csv", HEADER, "file_unreadable"),
        ("a.csv", b"a,b\n1,2\n", "column_missing"),
        ("a.csv", HEADER + b"a,x\nb,\n", "bad_rows"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\0\0", "file_unreadable"),
        ("a.pdf", HEADER + b"a,x\n", "file_unreadable"),
        ("a.jsonl", b"[" * 100_000, "file_unreadable"),
        ("../../a.csv", HEADER + b"a,x\na,y\n", "bad_rows"),
    ],
)
def test_a_bad_file_makes_no_dataset(admin: httpx.Client, filename: str, data: bytes, code: str) -> None:
    name = fresh("bad")

    answer = admin.post("/api/v1/datasets", data={"name": name}, files={"file": (filename, data)})

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
    assert admin.get(f"/api/v1/datasets/{name}").status_code == 404


@pytest.mark.parametrize(
    "name", ["../x", "..\\x", "/abs", "C:\\x", "a\0b", "a" * 300, "CON/", "file:///x", "a b", "", ".", "-x", "a\r\nb"]
)
def test_a_name_is_no_path(admin: httpx.Client, name: str) -> None:
    files = {"file": ("a.csv", HEADER + b"a,x\n")}

    answers = [
        admin.post("/api/v1/datasets", data={"name": name}, files=files),
        admin.post("/api/v1/workflows", json={"name": name, "graph": GRAPH}),
        admin.post("/api/v1/apps", json={"name": name, "workflow": "desk", "title": "x"}),
        admin.post("/api/v1/runs", json={"dataset": "moods", "model": name}),
        admin.post("/api/v1/upstreams", json={"name": name, "url": "http://127.0.0.1:9/v1"}),
    ]

    assert [answer.status_code for answer in answers] == [422] * 5, [answer.text for answer in answers]


@pytest.mark.parametrize(
    "name", ["..%2F..%2Fetc%2Fpasswd", "%2e%2e%2f", "file:%2F%2F%2Fetc", "%00", "a%00b", "%F0%9F%A6%93"]
)
@pytest.mark.parametrize(
    "path", ["/api/v1/datasets/{}", "/api/v1/models/{}/versions/1", "/api/v1/runs/{}/events", "/api/v1/passages/{}"]
)
def test_an_address_is_no_path(admin: httpx.Client, path: str, name: str) -> None:
    answer = admin.get(path.format(name))

    assert answer.status_code in (404, 422)
    assert "root:" not in answer.text


def test_gbk_is_recognised(admin: httpx.Client) -> None:
    preview = admin.post("/api/v1/datasets/preview", files={"file": ("a.csv", GBK)}).json()

    assert (preview["encoding"], preview["labels"]["请假"], preview["problem_count"]) == ("gbk", 2, 0)


def test_a_label_with_one_example_is_pointed_out(admin: httpx.Client) -> None:
    data = HEADER + b"a,x\nb,x\nc,x\nd,lonely\n"

    preview = admin.post("/api/v1/datasets/preview", files={"file": ("a.csv", data)}).json()

    assert "'lonely'" in preview["warnings"][0]


def test_a_huge_file_is_read_or_refused_but_never_half_imported(admin: httpx.Client) -> None:
    name = fresh("huge")
    rows = b"".join(b"text number %d,%d\n" % (n, n % 7) for n in range(50_000))
    started = time.perf_counter()

    answer = admin.post("/api/v1/datasets", data={"name": name}, files={"file": ("a.csv", HEADER + rows + b"x,\n")})

    assert told(answer)["code"] == "bad_rows"
    assert admin.get(f"/api/v1/datasets/{name}").status_code == 404
    assert time.perf_counter() - started < 5


def test_every_unreadable_document_fails_alone_and_says_why(admin: httpx.Client) -> None:
    base = fresh("docs")
    admin.post("/api/v1/knowledge", json={"name": base}).raise_for_status()
    files = {
        "letter.pdf": b"Dear all, this is no PDF.",
        "blank.pdf": NO_PAGES,
        "empty.md": b"",
        "program.md": b"MZ\x90\0\x03\0\0\0",
        "picture.svg": b"<svg onload=alert(1)>",
        "bomb.docx": zipped({"word/document.xml": b"\0" * (300 << 20)}),
        "laughs.docx": zipped({"[Content_Types].xml": LAUGHS, "word/document.xml": LAUGHS}),
        "good.md": b"# Good\n\nThis one can be read.\n",
    }

    sent = admin.post(f"/api/v1/knowledge/{base}/documents", files=[("files", item) for item in files.items()])

    assert sent.status_code == 202
    documents = {document["name"]: document for document in wait_for_documents(admin, base)}
    assert {name for name, document in documents.items() if document["status"] == "ready"} == {"good.md"}
    assert all(len(documents[name]["error"]) > 20 for name in files.keys() - {"good.md"})
    assert "not a pdf file" in documents["letter.pdf"]["error"]
    assert "no pages" in documents["blank.pdf"]["error"]


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%b">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b'<!ENTITY file SYSTEM "file:///etc/passwd">]><x>&j;&file;</x>'
)


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("filename", "kept"),
    [
        ("../../../etc/cron.d/x.md", "x.md"),
        ("C:\\Windows\\x.md", "x.md"),
        ("/abs/x.md", "x.md"),
        ("gpj.\u202edm.md", "gpj.dm.md"),
        ('"><img src=x onerror=alert(1)>.md', "%22><img src=x onerror=alert(1)>.md"),
        ("CON.md", "CON.md"),
    ],
)
def test_a_file_name_is_a_label_and_no_more(admin: httpx.Client, filename: str, kept: str) -> None:
    base = fresh("names")
    admin.post("/api/v1/knowledge", json={"name": base}).raise_for_status()

    sent = admin.post(f"/api/v1/knowledge/{base}/documents", files={"files": (filename, b"# a\n\nb")})

    assert sent.json()["items"][0]["name"] == kept
    assert sent.headers["content-type"] == "application/json"


@pytest.mark.parametrize("filename", ["a" * 4_096 + ".md", "/"])
def test_a_file_without_a_usable_name_is_refused(admin: httpx.Client, filename: str) -> None:
    sent = admin.post("/api/v1/knowledge/handbook/documents", files={"files": (filename, b"# a\n\nb")})

    assert sent.status_code == 422


def test_what_is_unknown_names_what_is_known(admin: httpx.Client) -> None:
    answers = {
        "mood": admin.post("/predict/nope", json={"text": "x"}),
        "quote": admin.post("/v1/chat/completions", json={"model": "nope", "messages": [{"role": "user"}]}),
        "desk": admin.post("/api/v1/apps/nope/chat", json={"query": "x"}),
        "moods": admin.post("/api/v1/runs", json={"dataset": "nope", "model": "x"}),
        "handbook": admin.get("/api/v1/knowledge/nope/search?query=x"),
    }

    assert {answer.status_code for answer in answers.values()} == {404}
    assert [known for known, answer in answers.items() if known not in str(answer.json()["error"])] == []


@pytest.mark.parametrize(
    "query",
    ['"', "NEAR(", "*", "a AND OR -b", "' OR 1=1 --", "%", "_", "\\", "{{7*7}}", "\u202e", "年" * 3_000, "x" * 30_000],
)
def test_no_query_is_a_command(admin: httpx.Client, query: str) -> None:
    answer = admin.get("/api/v1/knowledge/handbook/search", params={"query": query})

    assert answer.status_code == 200
    assert (
        admin.get("/api/v1/traces", params={"app": query, "status": query, "before": query[:100]}).json()["items"] == []
    )


@pytest.mark.parametrize("value", ["\ud800", "a\0b", 10**30, -1, float("nan"), [], {}, None])
@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/v1/knowledge", "name"),
        ("/api/v1/workflows/desk/run", "version"),
        ("/api/v1/loop/gate", "candidate"),
        ("/api/v1/releases", "share"),
        ("/api/v1/apps/desk/chat", "query"),
        ("/predict/mood", "version"),
        ("/v1/chat/completions", "messages"),
    ],
)
def test_odd_values_are_the_askers_fault(admin: httpx.Client, path: str, field: str, value: object) -> None:
    body = {"model": "mood", "version": 1, "candidate": 1, "query": "x", "text": "x", "messages": [{"role": "user"}]}

    assert post_odd(admin, path, {**body, field: value}).status_code < 500


PAYLOADS = {
    "code": "__import__('pathlib').Path({canary!r}).touch()",
    "mro": "{{{{ ''.__class__.__mro__[1].__subclasses__() }}}}",
    "globals": "{{{{ cycler.__init__.__globals__.os.popen('touch {canary}') }}}}",
    "attr": "{{{{ ''|attr('__class__') }}}}",
    "loop": "{{% for a in range(9999) %}}{{% for b in range(9999) %}}x{{% endfor %}}{{% endfor %}}",
    "memory": "{{{{ 'a' * 10000000000 }}}}",
    "format": "{{{{ '%s'|format(1) }}}}",
    "power": "{{{{ 9 ** 99999 }}}}",
    "literal": "{{0.__class__.__init__.__globals__}} %s %(x)s ${{x}}",
}


@pytest.mark.parametrize("kind", PAYLOADS)
def test_a_template_reaches_nothing(admin: httpx.Client, tmp_path: Path, kind: str) -> None:
    payload = PAYLOADS[kind].format(canary=str(tmp_path / "canary"))
    name = fresh("template")
    step = {"type": "template-transform", "template": payload, "variables": []}
    reply = {"type": "answer", "answer": "{{#search.output#}}"}
    started = time.perf_counter()

    saved = admin.post("/api/v1/workflows", json={"name": name, "graph": line(step, reply)})
    ran = admin.post(f"/api/v1/workflows/{name}/run", json={"query": payload})

    assert saved.status_code in (201, 422)
    assert ran.status_code in (200, 404)
    said = ran.json().get("outputs", {}).get("answer", "")
    assert said in ("", payload) or kind == "code", said  # refused, or the text as it is
    assert not (tmp_path / "canary").exists()
    assert time.perf_counter() - started < 2


def line(step: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
    nodes = {"start": {"type": "start"}, "search": step, "reply": reply}
    edges = [("start", "search"), ("search", "reply")]
    return {
        "nodes": [{"id": id, "data": data} for id, data in nodes.items()],
        "edges": [{"source": source, "target": target} for source, target in edges],
    }


@pytest.mark.parametrize("kind", PAYLOADS)
def test_what_a_user_says_is_said_and_not_run(admin: httpx.Client, tmp_path: Path, kind: str) -> None:
    """A question full of templates and formats comes back as it was asked."""
    payload = PAYLOADS[kind].format(canary=str(tmp_path / "canary")) + " {{#sys.user_id#}} {{#env.KEY#}} </system>"

    asked = admin.post("/api/v1/apps/desk/chat", json={"query": payload}).json()

    assert asked["query"] == payload
    assert asked["status"] == "succeeded"
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "document",
    [
        "nodes: !!python/object/apply:os.system ['touch {canary}']\nedges: []",
        "nodes: !!python/object/new:pathlib.Path ['{canary}']",
        "a: &a [x, x]\nb: &b [*a, *a]\nnodes: *b",
        "nodes: " + "[" * 90_000,
        "nodes:\n- id: code\n  data: {{type: code, code: 'open(\"{canary}\")', code_language: python3}}\nedges: []",
        "nodes:\n- id: call\n  data: {{type: http-request, url: 'http://127.0.0.1:1/', method: get}}\nedges: []",
        "nodes:\n- id: tool\n  data: {{type: tool, command: 'touch {canary}'}}\nedges: []",
    ],
    ids=["apply", "new", "references", "deep", "code", "request", "command"],
)
def test_importing_a_workflow_runs_nothing(admin: httpx.Client, tmp_path: Path, document: str) -> None:
    text = document.format(canary=tmp_path / "canary") if "canary" in document else document

    answer = admin.post("/api/v1/workflows", json={"name": fresh("import"), "yaml": text})

    assert answer.status_code in (413, 422)
    assert told(answer)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("matches", "(a+)+$"),
        ("is", "{{#mood.__class__#}}"),
        ("contains", {"__proto__": 1}),
        ("in", "[" * 100_000),
        ("=", "9" * 100_000),
        ("is", "x" * 100_000),
    ],
)
def test_a_condition_is_refused_or_quick(admin: httpx.Client, operator: str, value: object) -> None:
    name = fresh("condition")
    condition = {"variable_selector": ["sys", "query"], "comparison_operator": operator, "value": value}
    step = {"type": "if-else", "cases": [{"case_id": "yes", "conditions": [condition]}]}
    document = line(step, {"type": "answer", "answer": "yes"})
    document["edges"][1]["sourceHandle"] = "yes"
    started = time.perf_counter()

    saved = admin.post("/api/v1/workflows", json={"name": name, "graph": document})
    ran = admin.post(f"/api/v1/workflows/{name}/run", json={"query": "a" * 50_000 + "!"})

    assert saved.status_code in (201, 422)
    assert ran.status_code in (200, 404)
    assert time.perf_counter() - started < 2
