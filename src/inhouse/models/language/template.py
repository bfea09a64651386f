"""Chat templates: programs that came with a model, so they run in a sandbox, on a budget."""

import functools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from inhouse.core.errors import Invalid
from inhouse.models.language.vocabulary import read_json

MOST_CHARACTERS, MOST_TURNS, MOST_REPEATS = 8 << 20, 200_000, 10_000
"""What one rendering may make in all, how often it may loop, and how far it may count."""
CHATML = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"""
"""What a model without a template of its own is given."""
_REFUSED = {"center", "filesizeformat", "format", "pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr"}
_PADDING = frozenset({"center", "expandtabs", "ljust", "rjust", "zfill"})


class BrokenTemplate(Invalid):
    """A model's chat template cannot be read, or does what none should do."""


class RefusedByTemplate(Invalid):
    """The chat template has no place for these messages."""


class _Refused(Exception):
    """The template itself says what is wrong with the messages."""


class _TooMuch(SecurityError):
    """The template's budget is spent."""


class ChatTemplate:
    """A compiled chat template."""

    def __init__(self, source: str, **constants: str | None) -> None:
        self._environment = _Sandbox()
        self._one_at_a_time = threading.Lock()
        self._constants = {name: value or "" for name, value in constants.items()}
        try:
            self._template = self._environment.from_string(source)
        except (TemplateError, RecursionError, SyntaxError, ValueError, OverflowError) as error:
            raise BrokenTemplate(f"The chat template cannot be read: {error}.", param="messages") from error

    def render(self, messages: Sequence[Mapping[str, Any]], /, **values: Any) -> str:
        """The conversation as one text. Values that the template does not know are ignored."""
        own = self._environment.globals.keys()
        known = {name: value for name, value in values.items() if name not in own}
        with self._one_at_a_time:  # they share one budget
            self._environment.restart()
            return self._rendered({**known, **self._constants, "messages": messages})

    def _rendered(self, values: Mapping[str, Any]) -> str:
        try:
            return "".join(self._environment.counted(self._template.generate(values)))
        except _Refused as error:
            raise RefusedByTemplate(f"The model's chat template refuses: {error}", param="messages") from error
        except (TemplateError, ArithmeticError, RecursionError, MemoryError) as error:
            raise BrokenTemplate(f"The chat template went wrong: {_said(error)}", param="messages") from error
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise RefusedByTemplate(
                f"The chat template cannot render these messages: {_said(error)}", param="messages"
            ) from error


def load_template(directory: Path) -> ChatTemplate:
    """The chat template of a model directory, or a plain one where it has none."""
    configured = read_json(directory / "tokenizer_config.json")
    special = {name: _content(configured.get(name)) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    return ChatTemplate(template_source(directory) or CHATML, **special)


def template_source(directory: Path) -> str:
    """The chat template that comes with a model; empty where none does."""
    path = directory / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    source = read_json(directory / "tokenizer_config.json").get("chat_template")
    if isinstance(source, list):  # several, by name
        named = {one.get("name"): one.get("template") for one in source if isinstance(one, dict)}
        source = named.get("default") or next(iter(named.values()), None)
    return source if isinstance(source, str) else ""


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja without ways out, and with a budget: turns of loops, calls, and characters in all that is made."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"])
        self.restart()
        self.concat = self._joined_all  # blocks and macros come together here
        self.filters = {name: self._bounded(found) for name, found in self.filters.items() if name not in _REFUSED}
        self.filters["tojson"] = self._bounded(_as_json)
        self.globals = {
            "range": self._range,
            "namespace": self.globals["namespace"],
            "dict": dict,
            "raise_exception": _refuse,
            "strftime_now": _today,
            "_turns": self._counted_turns,
            "_joined": self._joined,
        }

    def restart(self) -> None:
        self._turns = 0
        self._characters = 0

    def counted(self, parts: Iterable[str]) -> Iterator[str]:
        """The same parts, until they are too many characters."""
        for part in parts:
            yield self._sized(part)

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:  # pyright: ignore
        self._turn(20)  # calls take longer than turns
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str):
            self._check_method(owner, function.__name__, args)
        return self._sized(super().call(context, function, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator in ("*", "**"):
            _check_product(operator, left, right)
        elif operator == "%" and isinstance(left, str):
            raise _TooMuch("formatting with % is not offered: use ~ to join texts")
        return self._sized(super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        return _refuse_formatting if super().wrap_str_format(value) is not None else None

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Let every turn of a loop be counted, and every joined text be measured."""
        tree = Parser(self, source, name, filename).parse()
        for node in tree.find_all(nodes.For):
            node.iter = _call_of("_turns", node.iter)
        return _Joins().visit(tree)

    def _turn(self, weight: int = 1) -> None:
        self._turns += weight
        if self._turns > MOST_TURNS:
            raise _TooMuch("it loops or calls too often")

    def _counted_turns(self, things: Any) -> Any:
        if isinstance(things, Undefined):
            return things
        return self._each(things)

    def _each(self, things: Iterable[Any]) -> Iterator[Any]:
        for thing in things:
            self._turn()
            yield thing

    def _range(self, *bounds: int) -> range:
        found = range(*bounds)
        if len(found) > MOST_REPEATS:
            raise _TooMuch(f"it counts to more than {MOST_REPEATS}")
        return found

    def _joined(self, *parts: Any) -> str:
        return self._joined_all(map(str, parts))

    def _joined_all(self, parts: Iterable[str]) -> str:
        return "".join(self.counted(parts))

    def _sized(self, value: Any) -> Any:
        if isinstance(value, str | list | tuple | dict):
            self._characters += len(value)
            if self._characters > MOST_CHARACTERS:
                raise _TooMuch(f"it makes more than {MOST_CHARACTERS} characters")
        return value

    def _bounded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The filter, refusing what would be absurd and measuring what comes out."""

        @functools.wraps(function)
        def bounded(*args: Any, **kwargs: Any) -> Any:
            self._turn(20)
            if any(isinstance(value, int) and abs(value) > MOST_REPEATS for value in (*args[1:], *kwargs.values())):
                raise _TooMuch("a filter is asked for too much")
            given = [value for value in args if isinstance(value, str | list | tuple)]
            if function.__name__ in ("do_replace", "sync_do_join", "do_join") and len(given) > 1:
                _check_product("*", str(given[-1]), len(given[0]))
            return self._sized(function(*args, **kwargs))

        return bounded

    def _check_method(self, owner: str, name: str, args: Sequence[Any]) -> None:
        if name in _PADDING and any(isinstance(value, int) and value > MOST_REPEATS for value in args):
            raise _TooMuch("a text is to be padded too far")
        if name == "replace" and len(args) > 1:
            _check_product("*", str(args[1]), owner.count(str(args[0])))
        if name == "join" and args and isinstance(args[0], str | list | tuple):
            _check_product("*", owner, len(args[0]))


class _Joins(NodeTransformer):
    """Replaces `a ~ b` by a call that measures."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # the library's name
        self.generic_visit(node)
        return _call_of("_joined", *node.nodes).set_lineno(node.lineno)


class _Generation(Extension):
    """`{% generation %}` marks what a model is trained on; for talking to it, it means nothing."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _content(token: Any) -> str:
    return token.get("content", "") if isinstance(token, dict) else token or ""


def _refuse_formatting(*_: Any, **__: Any) -> str:
    raise _TooMuch("formatting is not offered: use ~ to join texts")


def _call_of(name: str, *args: Any) -> nodes.Call:
    return nodes.Call(nodes.Name(name, "load"), list(args), [], None, None)


def _check_product(operator: str, left: Any, right: Any) -> None:
    if operator == "**" and not (abs(left) < MOST_REPEATS and abs(right) < 64):
        raise _TooMuch("a power is too large")
    for one, other in ((left, right), (right, left)):
        if isinstance(one, str | list | tuple) and isinstance(other, int) and len(one) * other > MOST_CHARACTERS:
            raise _TooMuch(f"it makes a text of more than {MOST_CHARACTERS} characters")


def _as_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    if isinstance(value, Undefined):
        return '""'
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    raise _Refused(message)


def _today(form: str) -> str:
    return time.strftime(form[:100])


def _said(error: BaseException) -> str:
    return str(error)[:300] or type(error).__name__
