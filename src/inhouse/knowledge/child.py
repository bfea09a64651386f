"""The process in which untrusted documents are parsed: `python -m inhouse.knowledge.child MEMORY_BYTES CPU_SECONDS`.

It reads requests from stdin and writes replies to stdout, each a msgpack message behind its 8-byte length.
"""

import os
import resource
import signal
import sys
from dataclasses import dataclass, replace
from typing import BinaryIO

import msgspec

from inhouse.core.errors import InhouseError
from inhouse.knowledge.clean import clean
from inhouse.knowledge.parser import Block, Parsed, choose

MAX_OPEN_FILES = 64
MAX_CHARS = 20_000_000


@dataclass(frozen=True, slots=True)
class Request:
    filename: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request; `parsed` is missing when there is an error. After an `is_fatal` one the child ends."""

    format: str = ""
    parsed: Parsed | None = None
    error: str = ""
    hint: str = ""
    is_fatal: bool = False


def main(memory_bytes: int, cpu_s: int) -> None:
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get into the replies
    _limit(memory_bytes)
    while (body := read_frame(source)) is not None:
        _allow_cpu(cpu_s)
        reply = _answer(msgspec.msgpack.decode(body, type=Request))
        write_frame(sink, msgspec.msgpack.encode(reply))
        if reply.is_fatal:
            return


def read_frame(source: BinaryIO) -> bytes | None:
    """Return the next message, or None at the end of the stream."""
    head = source.read(8)
    size = int.from_bytes(head, "big")
    body = source.read(size) if len(head) == 8 else b""
    return body if len(head) == 8 and len(body) == size else None


def write_frame(sink: BinaryIO, body: bytes) -> None:
    sink.write(len(body).to_bytes(8, "big") + body)
    sink.flush()


def _answer(request: Request) -> Reply:
    try:
        parser = choose(request.filename, request.data)
        return Reply(parser.name, _cleaned(parser.parse(request.data)))
    except InhouseError as error:
        return Reply(error=error.message, hint=error.hint)
    except MemoryError:
        return Reply(error="The document needs more memory than a parser may use.", hint="Split it.", is_fatal=True)
    except Exception as error:  # a parser may fail in any way on a hostile file; the document is told, not the server
        return Reply(error=f"The document cannot be read: {type(error).__name__}: {error}.", is_fatal=True)


def _cleaned(parsed: Parsed) -> Parsed:
    blocks: list[Block] = []
    room = MAX_CHARS
    for block in parsed.blocks:
        if text := clean(block.text):
            blocks.append(replace(block, text=text))
            room -= len(text)
        if room < 0:
            raise MemoryError
    return Parsed(blocks, title=clean(parsed.title), pages=parsed.pages)


def _limit(memory_bytes: int) -> None:
    """Bound what this process can take, and keep it from writing files or leaving core dumps."""
    for what, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (limit, limit))


def _allow_cpu(seconds: int) -> None:
    """Grant CPU time for one more document: the kernel counts for the whole life of the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, resource.RLIM_INFINITY))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle; it ends this process itself
    main(int(sys.argv[1]), int(sys.argv[2]))
