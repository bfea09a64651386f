import httpx
import pytest

from inhouse.testing.openai_stand_in import openai_stand_in


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("chat/completions", {"model": "stand-in", "messages": [{"role": "user", "content": "hi"}]}, 200),
        ("chat/completions", {"model": "stand-in", "messages": []}, 400),
        ("chat/completions", {"messages": [{}]}, 400),
        ("embeddings", {"model": "nobody", "input": "x"}, 404),
    ],
)
async def test_requests_are_answered_or_refused_as_openai_does(path: str, body: object, status: int) -> None:
    async with openai_stand_in() as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        answer = await http.post(path, json=body)

    assert answer.status_code == status
    assert ("error" in answer.json()) == (status != 200)
    assert server.heard[0].json == body


async def test_texts_that_share_words_are_near_each_other() -> None:
    async with openai_stand_in() as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        body = {"model": "stand-in-embedding", "input": ["red apples", "green apples", "the sea"]}
        rows = [one["embedding"] for one in (await http.post("embeddings", json=body)).json()["data"]]

    near, far = (sum(a * b for a, b in zip(rows[0], other, strict=True)) for other in rows[1:])
    assert near > far


async def test_it_can_be_told_to_refuse() -> None:
    body = {"model": "stand-in-embedding", "input": "x"}
    async with openai_stand_in() as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        server.refuse(503, {"retry-after": "1"})
        refused = await http.post("embeddings", json=body)
        server.accept()
        answered = await http.post("embeddings", json=body)

    assert (refused.status_code, refused.headers["retry-after"], answered.status_code) == (503, "1", 200)
