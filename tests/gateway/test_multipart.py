import httpx
import pytest

from inhouse.gateway.multipart import model_of, with_model
from inhouse.gateway.wire import InvalidRequest

FORM = b"multipart/form-data; boundary=x"
FILE = b'--x\r\nContent-Disposition: form-data; name="file"; filename="model.wav"\r\ncontent-type: audio/wav\r\n\r\n'
SOUND = b'\x00\r\n\r\n--y\r\nname="model"\r\n'
SMALL = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nsmall\r\n'


def test_what_clients_send_is_read_and_replaced():
    files = {"file": ("model; name=x.wav", SOUND, "audio/wav")}
    request = httpx.Request("POST", "http://here", data={"model": "small", "language": "de"}, files=files)
    body, kind = request.read(), request.headers["content-type"].encode()

    assert model_of(body, kind) == "small"
    changed = with_model(body, kind, "other")
    assert changed == body.replace(b"\r\n\r\nsmall\r\n", b"\r\n\r\nother\r\n")


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Disposition: form-data; name="model"',
        b"content-disposition:form-data;name=model",
        b'Content-Disposition: form-data; filename="a"; name="model"',
        b"Content-Disposition: form-data; name*=utf-8''model",
        b'Content-Disposition: form-data; name="file"; name="model"',
        b'Content-Disposition: form-data; name="mo\\del"',
        b'Content-Disposition: form-data;\r\n name="model"',
        b'Content-Disposition: form-data; name="file"\r\n ; name="model"',
        b'Content-Disposition: form-data; name="file"\r\nContent-Disposition: form-data; name="model"',
        b'Content-Disposition: attachment; name="model"',
        b"x: y",
    ],
)
def test_a_form_that_may_name_two_models_is_refused(head: bytes):
    other = b"--x\r\n" + head + b"\r\n\r\nlarge\r\n"

    for body in (SMALL + other, other + SMALL):
        with pytest.raises(InvalidRequest):
            model_of(body + b"--x--\r\n", FORM)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (FILE + SOUND + b"\r\n" + SMALL, FORM),
        (SMALL + b"--x--", b"multipart/form-data"),
        (SMALL + b"--x--", b"multipart/form-data; xboundary=x; boundary=y"),
        (SMALL + b"--x--", b"multipart/form-data; boundary=x; boundary=y"),
        (SMALL + b"--x--", b"text/plain; boundary=x"),
        (FILE + SOUND + b"\r\n--x--", FORM),
        (SMALL.replace(b"small", b"s" * 201) + b"--x--", FORM),
        (SMALL.replace(b"small", b"\xff") + b"--x--", FORM),
        (b"", FORM),
    ],
)
def test_what_is_no_such_form_is_refused(body: bytes, kind: bytes):
    with pytest.raises(InvalidRequest):
        model_of(body, kind)


def test_a_form_with_a_file_before_the_model_is_read():
    assert model_of(FILE + SOUND + b"\r\n" + SMALL + b"--x--\r\n", FORM) == "small"
