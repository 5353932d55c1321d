"""Templates: Jinja in a sandbox, strict about names, escaping in HTML only, and errors that name file, line and remedy.

A name that does not exist fails instead of printing nothing, and so does printing an empty value: "Hello None" is never sent.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from html import unescape
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from jinja2 import (
    BytecodeCache,
    FileSystemLoader,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateNotFound,
    TemplateSyntaxError,
    UndefinedError,
    nodes,
)
from jinja2.bccache import Bucket
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from winback.compose import place
from winback.compose.place import Place, written_for
from winback.compose.recording import (
    EMPTY,
    MARKING_CODE,
    EmptyError,
    Folding,
    MarkingCode,
    Recorder,
    TooManyError,
    is_recordable,
    printable,
)
from winback.errors import RenderError

#: The names every template may use; docs/templates.md says what each holds.
VARIABLES = frozenset(
    (
        *("customer", "order", "last_order", "coupon", "score"),
        *("shop", "campaign", "subject", "preheader", "unsubscribe_url", "today", "lang", "dir"),
    )
)

_SEE = "docs/templates.md lists what there is"


class _Strict(StrictUndefined):
    """Say which name does not exist, and which was probably meant."""

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        name = str(self._undefined_name)
        if self._undefined_obj is missing:
            return f"there is no variable '{name}'{_meant(name, VARIABLES)}"
        if self._undefined_obj is None:
            return f"'{name}' was asked of something that {EMPTY}"
        if isinstance(self._undefined_obj, Mapping):
            return f"there is no '{name}' here{_meant(name, [str(key) for key in self._undefined_obj])}"
        return f"'{name}' is not part of a {type(self._undefined_obj).__name__}"


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, asking mappings for their keys first: an attribute named `items` or `values` is a value, not a method."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict or isinstance(obj, Mapping):
            try:
                return obj[attribute]
            except KeyError:
                pass
        return super().getattr(obj, attribute)


class _MarkingEnvironment(_Environment):
    """Prints as a recorder wants, with the shop's own values compiled in."""

    code_generator_class = MarkingCode
    folding: Folding

    def _generate(self, source: nodes.Template, *arguments: Any, **options: Any) -> str:
        return MARKING_CODE + super()._generate(self.folding.visit(source), *arguments, **options)


_SomeEnvironment = TypeVar("_SomeEnvironment", bound=_Environment)


class _Compiled(BytecodeCache):
    """Remember what templates compile to, by their name and text: each pass has a renderer of its own, with the same settings."""

    #: A shop has some dozens of texts; while they are being edited, the old ones pile up.
    _MOST = 1000

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], Any] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        if len(self._codes) >= self._MOST:
            self._codes.clear()
        self._codes[bucket.key, bucket.checksum] = bucket.code


_compiled = _Compiled()


class Renderer:
    """The templates of one shop, each compiled once. Make a new one when the files change."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self.folder = folder
        self._files: dict[str, bool] = {}
        self._texts: dict[tuple[str, Path, str], Template] = {}
        self._recorded: dict[str, Template] = {}
        self._environment = self._new(_Environment, printable)
        self._globals = dict(self._environment.globals)
        self._marking: _MarkingEnvironment | None = None

    def _new(self, kind: type[_SomeEnvironment], finalize: Callable[[Any], Any]) -> _SomeEnvironment:
        environment = kind(
            loader=FileSystemLoader(self.folder),
            autoescape=lambda name: name is not None and name.endswith(".html"),
            undefined=_Strict,
            finalize=finalize,
            cache_size=-1,
            auto_reload=False,
            bytecode_cache=_compiled,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        filters = {"money": place.money, "date": place.date_text, "datetime": place.datetime_text, "number": place.number}
        environment.filters.update(filters)
        return environment

    def has(self, name: str) -> bool:
        """Say whether there is a file of this name in the templates folder."""
        found = self._files.get(name)
        if found is None:
            found = self._files[name] = (self.folder / name).is_file()
        return found

    def source(self, name: str) -> str:
        """Return the text of a template file as it was written."""
        return (self.folder / name).read_text(encoding="utf-8")

    def render(self, name: str, variables: Mapping[str, Any], place: Place) -> str:
        """Return the text of one template file with its variables; raise RenderError."""
        try:
            return "".join(self._printed(self._environment.get_template(name), variables, place))
        except Exception as error:
            raise self._explained(error, self.folder / name) from error

    def record(self, name: str, variables: Mapping[str, Any], place: Place, recorder: Recorder) -> list[str]:
        """Return the pieces of the text of one template file with marks in place of values, which the recorder keeps.

        It must be recordable, the recorder always the same, and so `shop` among the variables. Raise RenderError.
        """
        recorder.escaping(name.endswith(".html"))
        try:
            template = self._recorded.get(name)
            if template is None:
                template = self._recorded[name] = self._marked(name, variables["shop"], recorder)
            return self._printed(template, variables, place)
        except TooManyError:
            raise
        except Exception as error:
            raise self._explained(error, self.folder / name) from error

    def _marked(self, name: str, shop: Mapping[str, Any], recorder: Recorder) -> Template:
        if self._marking is None:
            self._marking = self._new(_MarkingEnvironment, recorder.print)
            self._marking.bytecode_cache = None  # what is compiled here is no other's
            self._marking.folding = Folding("shop", shop)
        return self._quick(self._marking.get_template(name))

    def _quick(self, template: Template) -> Template:
        """Return a template with Jinja's own values in a plain dict: each rendering looks at them, and a ChainMap is slow."""
        template.globals = self._globals
        return template

    def _printed(self, template: Template, variables: Mapping[str, Any], place: Place) -> list[str]:
        """Return the pieces of a text, as `template.generate` does; `_quick` says what takes that so long."""
        context = template.new_context({**self._globals, **variables}, shared=True)
        with written_for(place):
            try:
                return list(template.root_render_func(context))
            except Exception:
                template.environment.handle_exception()  # names the template's lines

    def is_recordable(self, name: str) -> bool:
        """Say whether `record` leaves marks whole in a template."""
        return is_recordable(self._environment, name, {"shop"})

    def render_text(self, source: str, variables: Mapping[str, Any], place: Place, *, file: Path, key: str) -> str:
        """Return a one-line text that stands in a campaign file, such as a subject; nothing in it is escaped."""
        try:
            template = self._texts.get((source, file, key))
            if template is None:
                bucket = _compiled.get_bucket(self._environment, key, str(file), source)
                if bucket.code is None:
                    bucket.code = self._environment.compile(source, name=key, filename=str(file))
                    _compiled.set_bucket(bucket)
                template = Template.from_code(self._environment, bucket.code, self._globals)
                self._texts[source, file, key] = template
            return " ".join("".join(self._printed(template, variables, place)).split())
        except Exception as error:
            raise self._explained(error, file, key=key, source=source) from error

    def render_block(self, name: str, block: str, variables: Mapping[str, Any], place: Place) -> str | None:
        """Return one block of a template file as a single line of plain text, or None when it has no such block.

        In HTML the block's text was escaped; a subject line is none, so that is undone.
        """
        try:
            template = self._environment.get_template(name)
            if block not in template.blocks:
                return None
            with written_for(place):
                parts = list(template.blocks[block](template.new_context(dict(variables))))
        except Exception as error:
            raise self._explained(error, self.folder / name) from error
        text = "".join(parts)
        return " ".join((unescape(text) if name.endswith(".html") else text).split())

    def _explained(self, error: Exception, file: Path, *, key: str = "", source: str = "") -> RenderError:
        """Return what went wrong, where in the shop's files, and what to do; nothing personal is in it."""
        what, remedy = _what_and_remedy(error)
        if isinstance(error, TemplateSyntaxError):
            where, line = Path(error.filename or file), error.lineno
        else:
            where, line = self._position(error.__traceback__) or (file, 0)
        if key:
            line = _line_of(source, file)
            what = f"{key}: {what}"
        return RenderError(what, remedy, file=self._relative(where), line=line)

    def _position(self, trace: TracebackType | None) -> tuple[Path, int] | None:
        """Return the innermost line of a template in a traceback that Jinja has rewritten."""
        found = None
        while trace is not None:
            path = Path(trace.tb_frame.f_code.co_filename)
            if path.is_relative_to(self.folder):
                found = (path, trace.tb_lineno)
            trace = trace.tb_next
        return found

    def _relative(self, path: Path) -> Path:
        if path.is_relative_to(self.folder):  # which may be a copy
            return Path("templates") / path.relative_to(self.folder)
        return path.relative_to(self._root) if path.is_relative_to(self._root) else path


def _what_and_remedy(error: Exception) -> tuple[str, str]:
    if isinstance(error, RenderError):
        return error.problem, error.remedy
    if isinstance(error, EmptyError):
        return str(error), "give it a fallback, {{ … | default('…', true) }}, or test it with {% if … %}"
    if isinstance(error, UndefinedError):
        return str(error), "test it first with {% if … %}" if str(error).endswith(EMPTY) else _SEE
    if isinstance(error, TemplateNotFound):
        return f"there is no template {error.name}", "make this file in templates/, or correct the name"
    if isinstance(error, TemplateSyntaxError):
        return f"this is not a template: {error.message}", "look for a missing %}, }} or {% end… %} at or above this line"
    if isinstance(error, SecurityError):
        return f"templates may not do this: {error}", "use the variables and filters of docs/templates.md"
    if isinstance(error, TemplateError):
        return str(error), _SEE
    if isinstance(error, UnicodeDecodeError):
        return "the file is not UTF-8", "save it with the encoding UTF-8"
    return f"{type(error).__name__}: {error}", _SEE


def _meant(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _line_of(source: str, file: Path) -> int:
    """Return the line of a campaign file where a text stands as written, or 0."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    pattern = re.escape(source.replace("\\", "\\\\").replace('"', '\\"'))
    either = re.compile(f"{pattern}|{re.escape(source)}")
    return next((number for number, line in enumerate(lines, 1) if either.search(line)), 0)
