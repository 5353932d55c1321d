"""Rendering with marks in place of values: what is left is the same for many letters, and can be prepared once for all of them.

A mark stands for a value that templates print. Values that could change more than their own place (empty ones, markup, odd
white space, invisible characters) are never marked: they are printed as always, and are part of what is left.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jinja2 import Environment, TemplateError, TemplateRuntimeError, nodes
from jinja2.compiler import CodeGenerator
from jinja2.visitor import NodeTransformer
from markupsafe import Markup, escape

#: What is said of a value that is not there.
EMPTY = "is empty for this recipient"

#: Private-use characters begin and end a mark: a value's number stands between. The mark of a web address begins like one.
MARK = re.compile("(?:\ue000|https://\ue002)([TAC]?)(\\d+)[\ue001\ue003]")
MARKING = re.compile("[\ue000-\ue007]")

_LETTER = "[^\\s<>\x00-\x1f\x7f-\x9f\u00ad\u034f\u200b\u200c\u2007\ufeff\ud800-\udfff\ue000-\uf8ff]"
_PLAIN = re.compile(f"{_LETTER}+(?:[ \xa0\u202f]{_LETTER}+)*")
_ADDRESS = re.compile(
    "https?://[^\\s<>\"'“”„«»\x00-\x1f\x7f-\x9f\u00ad\u034f\u200b\u200c\u2007\ufeff\ud800-\udfff\ue000-\uf8ff]+"
)

#: How a value is printed, when it is not as it is.
_MARKED, _PADDED, _LINKED = range(3)

_MOST_VALUES = 4000  # of one letter
_KNOWN = 50_000  # values whose kind is remembered


class EmptyError(TemplateRuntimeError):
    """Refuse to print None."""


def printable(value: Any) -> Any:
    """Return a value, or raise EmptyError for None: "Hello None" is never sent."""
    if value is None:
        raise EmptyError(f"what is to be printed here {EMPTY}")
    return value


class TooManyError(Exception):
    """A letter prints more values than are worth the while."""


class Recorder:
    """Takes the place of Jinja's `finalize` and escaping: keeps the values that a template prints, and prints marks."""

    def __init__(self) -> None:
        self._marks: Sequence[str] = [f"\ue000{number}\ue001" for number in range(_MOST_VALUES)]
        self._links: Sequence[str] = [f"https://\ue002{number}\ue003" for number in range(_MOST_VALUES)]
        self._safe_marks: Sequence[str] = [Markup(mark) for mark in self._marks]  # noqa: S704 - our own marks hold no markup
        self._safe_links: Sequence[str] = [Markup(mark) for mark in self._links]  # noqa: S704
        self._html_kinds: dict[str, int | str] = {}  # or what is printed
        self._text_kinds: dict[str, int | str] = {}
        self.begin()
        self.escaping(True)

    def begin(self) -> None:
        """Forget the last letter's values."""
        self.values: list[str] = []

    def escaping(self, html: bool) -> None:
        """Mark for an HTML template next, or for one of plain text."""
        self._kinds = self._html_kinds if html else self._text_kinds
        self._mark, self._link = (self._safe_marks, self._safe_links) if html else (self._marks, self._links)

    def print(self, value: Any) -> Any:
        """Return what is printed for a value: mostly its mark."""
        if type(value) is str:
            text = value
            if self._kinds.get(text) == _MARKED:  # most are
                self.values.append(text)
                try:
                    return self._mark[len(self.values) - 1]
                except IndexError:
                    raise TooManyError from None
        elif hasattr(value, "__html__"):
            return value  # what macros and blocks printed, with marks in it, and what was called safe
        else:
            text = str(printable(value))
        kind = self._kinds.get(text)
        if kind is None:
            kind = self._remember(text)
        if type(kind) is str:
            return kind
        values = self.values
        place = len(values)
        if place >= _MOST_VALUES:
            raise TooManyError
        if kind == _MARKED:
            values.append(text)
            return self._mark[place]
        if kind == _LINKED:
            values.append(text)
            return self._link[place]
        core = text.strip(" \n")
        values.append(core)
        before, _, after = text.partition(core)
        return before + self._mark[place] + after

    def _remember(self, text: str) -> int | str:
        if len(self._kinds) >= _KNOWN:
            self._kinds.clear()
        kind = self._kinds[text] = self._kind(text)
        return kind

    def _kind(self, text: str) -> int | str:
        """Return how a value is marked, or how it is printed as it is."""
        html = self._kinds is self._html_kinds
        if _ADDRESS.fullmatch(text):
            return _LINKED
        core = text.strip(" \n")
        # In a text part, slashes may make an address of what is around them.
        if _PLAIN.fullmatch(core) and (html or not ("//" in core or core.startswith("/"))):
            return _MARKED if core == text else _PADDED
        return str(escape(text)) if html else text


class MarkingCode(CodeGenerator):
    """Writes code that prints what the recorder gives it, escaped already; the module it goes into begins with `MARKING_CODE`."""

    def _make_finalize(self) -> CodeGenerator._FinalizeInfo:
        # What is constant never gets a mark.
        return self._FinalizeInfo(lambda value: str(printable(value)), "printed(")

    def visit_Getattr(self, node: nodes.Getattr, frame: Any) -> None:  # noqa: N802 - Jinja's name
        # Nearly all that templates ask for is in a dict, where the sandbox would look first: looked up right here.
        if not isinstance(node.node, nodes.Name):
            super().visit_Getattr(node, frame)
            return
        name, key = frame.symbols.ref(node.node.name), repr(node.attr)
        self.write(f"({name}[{key}] if type({name}) is dict and {key} in {name} else ")
        super().visit_Getattr(node, frame)
        self.write(")")

    def _output_child_pre(self, node: nodes.Expr, frame: Any, finalize: Any) -> None:
        self.write("printed(")

    def _output_child_post(self, node: nodes.Expr, frame: Any, finalize: Any) -> None:
        self.write(")")


#: Stands in the same line as what comes first, or errors would name other lines.
MARKING_CODE = "printed = environment.finalize; "


class Folding(NodeTransformer):
    """Puts the shop's own values, the same in all letters, into what is compiled."""

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self._name = name
        self._values = values

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:  # noqa: N802 - Jinja's name
        value = self._value(node)
        return nodes.Const(value, lineno=node.lineno) if type(value) is str else self.generic_visit(node)

    def _value(self, node: nodes.Node) -> Any:
        if isinstance(node, nodes.Name):
            return self._values if node.name == self._name and node.ctx == "load" else None
        if isinstance(node, nodes.Getattr):
            held = self._value(node.node)
            return held.get(node.attr) if isinstance(held, Mapping) else None
        return None


#: Nodes that look at what was printed, or print without escaping.
_LOOKING: tuple[type[nodes.Node], ...] = (
    nodes.AssignBlock,
    nodes.FilterBlock,
    nodes.EvalContextModifier,
    nodes.ScopedEvalContextModifier,
)
#: Functions that return values, and print nothing.
_FUNCTIONS = frozenset(("range", "dict", "lipsum", "cycler", "joiner", "namespace"))
#: What passes on what a macro or a block printed, and asks no more of it than whether there is anything.
_PASSING = (nodes.Not, nodes.And, nodes.Or, nodes.CondExpr, nodes.Concat)


def is_recordable(environment: Environment, name: str, constants: Collection[str]) -> bool:
    """Say whether a template, and all that it uses, does nothing with printed text but print it, so that marks stay whole.

    Nor may it give the names of `constants` other values.
    """
    waiting, known = [name], {name}
    while waiting:
        current = waiting.pop()
        try:
            assert environment.loader is not None  # noqa: S101 - ours has one
            tree = environment.parse(environment.loader.get_source(environment, current)[0], current)
        except (TemplateError, OSError, UnicodeDecodeError):
            return False
        if next(tree.find_all(_LOOKING), None) is not None or not _calls_only_print(tree) or _names_given(tree) & set(constants):
            return False
        for reference in tree.find_all((nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)):
            used = reference.template  # type: ignore[attr-defined]
            if not isinstance(used, nodes.Const) or not isinstance(used.value, str):
                return False
            if used.value not in known:
                known.add(used.value)
                waiting.append(used.value)
    return True


def _names_given(tree: nodes.Template) -> set[str]:
    names = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    names |= {node.name for node in tree.find_all(nodes.Macro)} | {node.target for node in tree.find_all(nodes.Import)}
    for imported in tree.find_all(nodes.FromImport):
        names |= {name if isinstance(name, str) else name[1] for name in imported.names}
    return names


def _calls_only_print(tree: nodes.Template) -> bool:
    modules = {node.target for node in tree.find_all(nodes.Import)} | {"self"}

    def prints(call: nodes.Call) -> bool:
        if isinstance(call.node, nodes.Name):
            return call.node.name not in _FUNCTIONS
        root: Any = call.node
        while isinstance(root, nodes.Getattr | nodes.Getitem):
            root = root.node
        return not isinstance(root, nodes.Name | nodes.Const | nodes.Filter) or (
            isinstance(root, nodes.Name) and root.name in modules
        )

    def fine(node: nodes.Node, passed_on: bool) -> bool:
        if isinstance(node, nodes.Call) and prints(node) and not passed_on:
            return False
        if isinstance(node, nodes.If):
            return fine(node.test, True) and all(fine(child, False) for child in node.iter_child_nodes(exclude=("test",)))
        if isinstance(node, nodes.CallBlock):
            return fine(node.call, True) and all(fine(child, False) for child in node.iter_child_nodes(exclude=("call",)))
        if isinstance(node, nodes.Filter) and node.name == "trim" and node.node is not None and not node.args:
            return fine(node.node, passed_on)
        onward = isinstance(node, nodes.Output) or (passed_on and isinstance(node, _PASSING))
        return all(fine(child, onward) for child in node.iter_child_nodes())

    return fine(tree, False)
