"""`POST /predict`, `POST /predict/{model}` and `GET /health`: raw ASGI, for the path that must be fast."""

import logging
import math
import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from inhouse.core.asgi import ClientLeft, Receive, Scope, Send, WhileConnected, read_body, send_json
from inhouse.core.errors import InhouseError, Invalid, NotFound, Unauthenticated
from inhouse.core.ids import new_id
from inhouse.core.principal import Principal
from inhouse.serving import metrics
from inhouse.serving.inputs import Input
from inhouse.serving.predictor import Predictor

_log = logging.getLogger(__name__)


class BadRequest(Invalid):
    """The body is not what `/predict` takes."""


class NoSuchRoute(NotFound):
    """This app has no such address."""


class NotSignedIn(Unauthenticated):
    """The request carries no valid session or key."""


class PredictionFailed(InhouseError):
    """Something unexpected went wrong."""


class Body(msgspec.Struct):
    """One text or several (`inputs` takes one or several of whatever the model takes), who asks (`key`), and what to
    answer.
    """

    text: str | None = None
    texts: list[str] | None = None
    inputs: str | dict[str, Any] | list[str | dict[str, Any]] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=1)] | None = None
    version: int | None = None
    key: str = ""


_decoder = msgspec.json.Decoder(Body)
_encode = msgspec.json.Encoder().encode


class PredictApp:
    """Serves predictions. The server puts the authenticated `Principal` into `scope["principal"]`."""

    routes: tuple[tuple[str, str, str | None], ...] = (
        ("POST", "/predict", "predict:run"),
        ("POST", "/predict/{model}", "predict:run"),
        ("GET", "/health", None),
    )

    def __init__(self, predictor: Predictor, *, max_body_bytes: int = 4 << 20) -> None:
        self._predictor = predictor
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = scope.get("request_id") or new_id("req")
        head = [(b"x-request-id", request_id.encode())]
        started = time.perf_counter()
        model = ""  # stays empty where no known model is meant: labels must not grow with bad requests
        try:
            answer = await self._answer(scope, receive, request_id)
            status, model = 200, answer.get("model", "")
        except ClientLeft:
            metrics.REQUESTS.labels("", "left").inc()
            return
        except InhouseError as error:
            status, answer = error.status, error.wire(request_id)
            if wait_s := error.details.get("retry_after_s"):
                head.append((b"retry-after", str(math.ceil(wait_s)).encode()))
        except Exception:  # the edge of the request
            _log.exception("A prediction failed.", extra={"request_id": request_id})
            status, answer = (
                500,
                InhouseError("The prediction failed.", hint="The server's log says why.").wire(request_id),
            )
        if scope["path"] != "/health":
            metrics.REQUESTS.labels(model, str(status)).inc()
            metrics.SECONDS.labels(model).observe(time.perf_counter() - started)
        await send_json(send, status, _encode(answer), head)

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> dict[str, Any]:
        method, path = scope["method"], scope["path"]
        if (method, path) == ("GET", "/health"):
            return {"status": "ok", "gpu": False}  # every runtime so far computes on the CPU
        model = path.removeprefix("/predict").removeprefix("/")
        if method != "POST" or not f"{path}/".startswith("/predict/") or "/" in model:
            raise NoSuchRoute(f"There is no {method} {path}.", hint="POST /predict or POST /predict/{model}.")
        principal: Principal | None = scope.get("principal")
        if principal is None:
            raise NotSignedIn("You are not signed in.", hint="Send `Authorization: Bearer ih_…`.")
        principal.require("predict:run")
        body = _parse(await read_body(receive, self._max_body_bytes))
        async with WhileConnected(scope, receive):
            said = await self._predictor.run(
                principal, model, _inputs(body), key=body.key, version=body.version, top_k=body.top_k
            )
        is_one = body.text is not None or isinstance(body.inputs, str | dict)
        return {
            **(said.rows[0] if is_one else {"predictions": said.rows}),
            "model": said.model,
            "model_version": said.version,
            "request_id": request_id,
        }


def _parse(body: bytes) -> Body:
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"The body cannot be used: {error}.", hint='Send JSON such as {"text": "…"}.') from error


def _inputs(body: Body) -> Sequence[Input]:
    given = [value for value in (body.text, body.texts, body.inputs) if value is not None]
    if len(given) != 1:
        raise BadRequest(
            f"The body has {len(given)} of `text`, `texts` and `inputs`.", hint='Send one of them: {"text": "…"}.'
        )
    return given[0] if isinstance(given[0], list) else [given[0]]
