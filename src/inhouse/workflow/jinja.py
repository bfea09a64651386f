"""Jinja2 for people we don't trust: an allow-list of what a template may call, and a budget of work and time.

Every loop turn, call, filter, test, arithmetic step and piece of output is charged by the size of what goes in and
comes out, before large results are made. So a template ends early, whatever it does, with a bounded memory.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import Any

from jinja2 import (
    Environment,
    Template,
    TemplateError,
    TemplateSyntaxError,
    Undefined,
    nodes,
    pass_context,
    pass_environment,
)
from jinja2.filters import sync_do_sum
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from inhouse.core.errors import Invalid, LimitExceeded

MAX_SOURCE = 50_000
MAX_OUTPUT = 400_000
_MAX_WORK = 2_000_000
_MAX_CPU_S = 0.25
_MAX_BITS = 1024

_words = str.split
_TEXT_FILTERS = frozenset(
    _words("capitalize e escape lower string striptags title tojson trim truncate upper urlencode")
)
_FILTERS = _TEXT_FILTERS | frozenset(
    _words(
        "abs count d default dictsort first float groupby int items last length list map max min reject rejectattr "
        "reverse round select selectattr sort unique wordcount"
    )
)
_STR_METHODS = frozenset(
    _words(
        "capitalize count endswith find index isalnum isalpha isdigit isnumeric isspace lower lstrip partition "
        "removeprefix removesuffix rfind rpartition rsplit rstrip split splitlines startswith strip title upper"
    )
)
_METHODS: Mapping[type, frozenset[str]] = {
    str: _STR_METHODS,
    dict: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
}


class TemplateInvalid(Invalid):
    """The template cannot be read, or asks for something that is not there."""


class TemplateForbidden(Invalid):
    """The template reaches for something that templates may not touch."""


class TemplateTooHeavy(LimitExceeded):
    """The template takes too long or makes too much."""

    retryable = False


class _Budget:
    """What one rendering may still spend."""

    def __init__(self) -> None:
        self._work = _MAX_WORK
        self._deadline = time.thread_time() + _MAX_CPU_S
        self._next_look = self._work

    def spend(self, work: int) -> None:
        self._work -= work
        if self._work < 0:
            raise TemplateTooHeavy("The template does too much work.", hint="Loop over less, or build shorter texts.")
        if self._work <= self._next_look:
            self._next_look = self._work - 500
            if time.thread_time() > self._deadline:
                raise TemplateTooHeavy(f"The template took over {_MAX_CPU_S} s.", hint="Make it simpler.")

    def weigh(self, value: object) -> None:
        """Charge for all that a value holds, as its text would."""
        left = [value]
        while left:
            item = left.pop()
            self.spend(_size(item))
            if isinstance(item, Mapping):
                left.extend(item.keys())
                left.extend(item.values())
            elif isinstance(item, (list, tuple, set, frozenset)):
                left.extend(item)


_budget: ContextVar[_Budget] = ContextVar("budget")


def _size(value: object) -> int:
    return 1 + len(value) if isinstance(value, (str, list, tuple, dict, range)) else 1


def _charged(function: Callable[..., Any], *, is_text: bool = False) -> Callable[..., Any]:
    """Charge a filter or test for its arguments and its result. Marks such as `pass_environment` are kept."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        budget = _budget.get()
        for value in (*args, *kwargs.values()):
            (budget.weigh if is_text else _charge)(value)
        result = function(*args, **kwargs)
        _charge(result)
        return result

    return call


def _charge(value: object) -> None:
    _budget.get().spend(_size(value))


def _join(value: Iterable[Any], separator: str = "") -> str:
    budget = _budget.get()
    texts: list[str] = []
    for item in value:
        budget.weigh(item)
        budget.spend(len(separator))
        texts.append(str(item))
    return str(separator).join(texts)


def _replace(text: str, old: str, new: str) -> str:
    text, old, new = str(text), str(old), str(new)
    _budget.get().spend(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


@pass_environment
def _sum(environment: Environment, items: Iterable[Any], attribute: str | int | None = None) -> Any:
    """Adds numbers only: adding lists up would copy them again and again."""
    return sync_do_sum(environment, items, attribute)


def _turns(items: Any, cost: int) -> Iterator[Any]:
    """The items of a loop; each turn costs what its body prints at least."""
    budget = _budget.get()
    if isinstance(items, Undefined):
        return
    for item in items:
        budget.spend(cost)
        yield item


def _range(*bounds: int) -> range:
    result = range(*bounds)
    if len(result) > 10_000:
        raise TemplateTooHeavy(f"A range of {len(result)} numbers is too long.", hint="10,000 is the most.")
    return result


@pass_context
def _printed(_: Context, value: object) -> object:
    _budget.get().weigh(value)
    return value


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])

    def __init__(self) -> None:
        super().__init__(optimized=False, finalize=_printed, keep_trailing_newline=True)
        builtin = dict(self.filters)
        self.filters = {name: _charged(builtin[name], is_text=name in _TEXT_FILTERS) for name in _FILTERS}
        self.filters.update(join=_join, replace=_replace, sum=_charged(_sum), _turns=_turns)
        self.tests = {name: _charged(test) for name, test in self.tests.items()}
        self.globals = {"range": _range, "namespace": Namespace, "dict": dict}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            if loop.recursive:
                raise TemplateForbidden("Templates may not use recursive loops.", hint="Use plain loops.")
            cost = 1 + sum(len(data.data) for data in loop.find_all(nodes.TemplateData))
            loop.iter = nodes.Filter(loop.iter, "_turns", [nodes.Const(cost)], [], None, None, lineno=loop.lineno)
        return _JoinedConcats().visit(tree)

    def call(self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(__obj, Undefined):
            raise TemplateInvalid(f"The template calls something unknown: {__obj._undefined_name!r}.")
        if not _is_allowed(__obj, self.globals):
            raise TemplateForbidden(
                f"Templates may not call {getattr(__obj, '__name__', type(__obj).__name__)!r}.",
                hint="Use a filter, such as `replace` or `join`.",
            )
        for value in (__obj.__self__ if hasattr(__obj, "__self__") else None, *args, *kwargs.values()):
            _charge(value)
        result = super().call(__context, __obj, *args, **kwargs)
        _charge(result)
        return result

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        _guard_growth(operator, left, right)
        result = super().call_binop(context, operator, left, right)
        _charge(result)
        return result


class _JoinedConcats(NodeTransformer):
    """Turns `a ~ b` into the `join` filter, so that it is charged."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
        self.generic_visit(node)
        return nodes.Filter(nodes.List(node.nodes), "join", [], [], None, None, lineno=node.lineno)


def _is_allowed(function: Any, known: Mapping[str, Any]) -> bool:
    if isinstance(function, Macro) or any(function is allowed for allowed in known.values()):
        return True
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", "")
    if isinstance(owner, LoopContext):
        return name in ("cycle", "changed")
    return name in _METHODS.get(type(owner), ())


def _guard_growth(operator: str, left: Any, right: Any) -> None:
    """Refuse arithmetic whose result would be huge, before it is made."""
    if operator == "%" and isinstance(left, str):
        raise TemplateForbidden("Templates may not format with %.", hint="Join texts with `~`, round with `round`.")
    if operator == "*" and not (isinstance(left, (int, float)) and isinstance(right, (int, float))):
        sequence, times = (right, left) if isinstance(left, int) else (left, right)
        if isinstance(times, int):
            _budget.get().spend(_size(sequence) * max(times, 1))
    elif operator == "+":
        _budget.get().spend(_size(left) + _size(right))
    elif operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        if bits > _MAX_BITS:
            raise TemplateTooHeavy("The template makes a number that is too large.", hint="Use smaller numbers.")


_environment = _Environment()


@lru_cache(maxsize=512)
def compile_jinja(source: str) -> Template:
    """Read a template, or say what is wrong with it and where."""
    if len(source) > MAX_SOURCE:
        raise TemplateTooHeavy(f"The template has {len(source)} characters.", hint=f"{MAX_SOURCE} is the most.")
    try:
        return _environment.from_string(source)
    except TemplateSyntaxError as error:
        raise TemplateInvalid(f"The template cannot be read, line {error.lineno}: {error.message}") from error
    except RecursionError as error:
        raise TemplateTooHeavy("The template is nested too deeply.", hint="Make it flatter.") from error


def render_jinja(source: str, values: Mapping[str, object]) -> str:
    """Fill a template; `TemplateTooHeavy` when it goes over its budget."""
    compiled = compile_jinja(source)
    token = _budget.set(_Budget())
    try:
        pieces: list[str] = []
        room = MAX_OUTPUT
        for piece in compiled.generate(dict(values)):
            room -= len(piece)
            if room < 0:
                raise TemplateTooHeavy("The template's text is too long.", hint=f"{MAX_OUTPUT} characters is the most.")
            pieces.append(piece)
        return "".join(pieces)
    except TemplateError as error:
        raise TemplateInvalid(f"The template failed: {error.message}") from error
    except RecursionError as error:
        raise TemplateTooHeavy("The template calls itself too deeply.", hint="Use a loop.") from error
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise TemplateInvalid(f"The template failed: {error}") from error
    finally:
        _budget.reset(token)
