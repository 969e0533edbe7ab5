"""Read a map of a document into a model of the language, and every mistake of it into a Problem.

Covers the translation of pydantic's errors into our sentences, and what holds for every document: text that can be
stored, a bounded depth. Knows no key of the language.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from homeport_control.spec.base import DOCUMENT, Model, keys_of
from homeport_control.spec.problems import Mistake, Problem, closest, path_of, quoted

M = TypeVar("M", bound=Model)

MAX_DEPTH = 20
MAX_ITEMS = 2000  # of one list or map: variables, volumes, hosts of a fleet
MAX_VALUES = 20_000  # of a whole document
MAX_PROBLEMS = 100  # that are told at once
MAX_TEXT = 64 * 1024  # one argument of a program on Linux may have 128 KiB
Loc = tuple[str | int, ...]


def read(model: type[M], document: Mapping[str, Any]) -> tuple[M | None, tuple[Problem, ...]]:
    """The model, or None with all its problems. The document must have passed `broken`."""
    try:
        return model.model_validate(document, context=DOCUMENT, by_alias=True, by_name=False), ()
    except ValidationError as error:
        found = [
            _problem(model, item["type"], item["loc"], item["input"], item.get("ctx", {}), item["msg"])
            for item in error.errors(include_url=False)[:MAX_PROBLEMS]
        ]
        return None, tuple(dict.fromkeys(found))


def broken(value: Any, at: Loc = ()) -> Iterator[Problem]:
    """What no document may hold anywhere: text that cannot be stored or passed to a program, endless depth."""
    if len(at) > MAX_DEPTH:
        yield Problem(path_of(at), f"is nested deeper than {MAX_DEPTH} levels")
    elif isinstance(value, str):
        if len(value) > MAX_TEXT:
            yield Problem(path_of(at), f"is longer than {MAX_TEXT} characters")
        if not is_text(value):
            yield Problem(path_of(at), "holds a character that cannot be used: NUL or half of a surrogate pair")
    elif isinstance(value, Mapping | list | tuple) and len(value) > MAX_ITEMS:
        yield Problem(path_of(at), f"has {len(value)} entries, the limit is {MAX_ITEMS}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str) or not is_text(key) or len(key) > MAX_TEXT:
                yield Problem(path_of(at), "has a key that is no plain text", "Quote the key, or correct it")
            else:
                yield from broken(inner, (*at, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from broken(inner, (*at, index))


def size(value: Any, most: int = MAX_VALUES) -> int:
    """How many values there are in all, counted until there are more than `most`."""
    waiting, found = [value], 0
    while waiting and found <= most:
        inner = waiting.pop()
        found += 1
        if isinstance(inner, Mapping):
            waiting.extend(inner.values())
        elif isinstance(inner, list | tuple):
            waiting.extend(inner)
    return found


def is_text(value: str) -> bool:
    return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)


def in_order(problems: Iterable[Problem], document: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Each once, by the order of the document's top-level keys; what belongs to no key comes first."""
    keys = [path_of((key,)) for key in document]

    def place(problem: Problem) -> int:
        head = problem.path.split(".")[0].split("[")[0] or problem.path
        return keys.index(head) if head in keys else -1

    return tuple(sorted(dict.fromkeys(problems), key=place))


def _problem(model: type[Model], kind: str, loc: Loc, value: Any, ctx: Mapping[str, Any], said: str) -> Problem:
    path = path_of(loc)
    mistake = ctx.get("error")
    if isinstance(mistake, Mistake):
        return Problem(path, mistake.message, mistake.hint)
    if kind == "extra_forbidden":
        owner = _model_at(model, loc[:-1])
        return Problem(path, f"unknown key {quoted(str(loc[-1]))}", closest(str(loc[-1]), keys_of(owner)))
    if kind == "missing":
        return Problem(path, "is missing")
    if kind == "literal_error":
        known = [word.strip("'") for word in str(ctx["expected"]).replace(" or ", ", ").split(", ")]
        return Problem(path, f"{quoted(value)} is not known here", closest(str(value)[:60], known))
    if kind == "string_type":
        hint = "Put it in quotes" if isinstance(value, int | float) else ""
        return Problem(path, f"must be text, not {_kind_of(value)}", hint)
    if kind in {"tuple_type", "list_type"}:
        return Problem(path, f"must be a list, not {_kind_of(value)}", "Put each item on a line of its own, after `- `")
    if kind in {"dict_type", "model_type", "dataclass_type", "model_attributes_type"}:
        return Problem(path, f"must be a map of keys and values, not {_kind_of(value)}")
    return Problem(path, said[:1].lower() + said[1:])


def _kind_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return "true or false"
    return "a number" if isinstance(value, int | float) else "text"


def _model_at(model: type[BaseModel], loc: Loc) -> type[BaseModel]:
    """The model whose keys stand at `loc`."""
    for part in loc:
        for name, field in model.model_fields.items():
            if part == (field.alias or name):
                model = next(_models_in(field.annotation), model)
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
