"""What every part of the language is built from: a frozen model that is read in two ways.

From a *document* (context `DOCUMENT`): by the language's keys, with all its spellings, unknown keys refused. From
Python or canonical JSON: by field names, with the fields' own units (MiB, seconds), so that
`Resources(shm_size_mib=64)` means what it says. One class serves both, so that there is one table of keys.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, model_validator

from homeport_control.spec.problems import Mistake

DOCUMENT: Final = "document"


class Model(BaseModel):
    """Frozen, closed. A document is read with `context=DOCUMENT, by_alias=True, by_name=False`."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> Any:
        """In a document: let the class take its short forms, then drop the known keys that have no value (`image:`)."""
        if info.context is not DOCUMENT:
            return value
        value = cls.long_form(value)
        if not isinstance(value, Mapping):
            raise Mistake("must be a map of keys and values")
        known = keys_of(cls)
        return {key: inner for key, inner in value.items() if inner is not None or key not in known}

    @classmethod
    def long_form(cls, value: Any) -> Any:
        """The map that a short form (`gpu: 24GB`) stands for. Raises Mistake."""
        return value


class Shown:
    """Beside a field's type: how a plan or a difference writes its value."""

    def __init__(self, text: Callable[[Any], str]) -> None:
        self.text = text


def reads(parse: Callable[[Any], Any]) -> BeforeValidator:
    """Read the language's spelling, in a document only. None is what `Optional` fields take as not given."""

    def read(value: Any, info: ValidationInfo) -> Any:
        return parse(value) if info.context is DOCUMENT and value is not None else value

    return BeforeValidator(read)


def keys_of(model: type[BaseModel]) -> frozenset[str]:
    """The keys that a document may use for this model."""
    return frozenset(field.alias or name for name, field in model.model_fields.items())
