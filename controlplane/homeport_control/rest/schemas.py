"""Messages as JSON schemas, as transcode reads and writes them. PURE.

What is read and what is written are two schemas: a request may leave out every field and have no other; an answer has all
that cannot be unset, and may get further ones in later versions.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from homeport_control.rest.transcode import DOCUMENT, FRACTIONS, LONG, RANGES, in_map_of, is_map

Schema = dict[str, Any]
DIGITS: Schema = {"type": "string", "pattern": "^-?[0-9]{1,20}$", "format": "int64"}


class Schemas:
    """Collects those of messages that are referred to."""

    def __init__(self, comments: Mapping[str, str]) -> None:
        self.made: dict[str, Schema] = {}
        self._comments = comments
        self._of: dict[str, str] = {}  # full name of the message, by name of the schema

    def answer(self, kind: Descriptor) -> Schema:
        """A reference to what is written."""
        return self._ref(kind, kind.name, is_read=False)

    def request(self, kind: Descriptor) -> Schema:
        """A reference to what is read, inside of a body."""
        return self._ref(kind, f"{kind.name}Input", is_read=True)

    def body(self, kind: Descriptor, fields: tuple[FieldDescriptor, ...]) -> Schema:
        """What a body is: these fields of a request."""
        return self._object(kind, fields, is_read=True)

    def parameter(self, field: FieldDescriptor) -> Schema:
        """What a parameter of the query is; all of them arrive as text."""
        schema = self._field(field, is_read=True)
        return {"type": "integer", "format": "int64"} if schema.get("type") == ["integer", "string"] else schema

    def words(self, full_name: str) -> Schema:
        found = self._comments.get(full_name, "")
        return {"description": found} if found else {}

    def _ref(self, kind: Descriptor, name: str, *, is_read: bool) -> Schema:
        if self._of.setdefault(name, kind.full_name) != kind.full_name:
            raise ValueError(f"two messages are called {name}: {kind.full_name} and {self._of[name]}")
        if name not in self.made:
            self.made[name] = {}  # a message may hold its own kind
            self.made[name] = self._object(kind, tuple(kind.fields), is_read=is_read)
        return {"$ref": f"#/components/schemas/{name}"}

    def _object(self, kind: Descriptor, fields: tuple[FieldDescriptor, ...], *, is_read: bool) -> Schema:
        made: Schema = {"type": "object", **self.words(kind.full_name)}
        made["properties"] = {
            field.name: self._field(field, is_read=is_read) | self.words(field.full_name) for field in fields
        }
        if is_read:
            made["additionalProperties"] = False
        elif always := [field.name for field in fields if not field.has_presence]:
            made["required"] = always
        return made

    def _field(self, field: FieldDescriptor, *, is_read: bool) -> Schema:
        if is_map(field):
            of = in_map_of(field)
            return {"type": "object", "additionalProperties": self._one(of, is_read=is_read)}
        if field.is_repeated:
            return {"type": "array", "items": self._one(field, is_read=is_read)}
        return self._one(field, is_read=is_read)

    def _one(self, field: FieldDescriptor, *, is_read: bool) -> Schema:
        if field.message_type is not None:
            if field.message_type.file.package == "google.protobuf":
                return {"type": "string", "format": "date-time"}
            return self.request(field.message_type) if is_read else self.answer(field.message_type)
        if field.type in LONG:
            return {"type": ["integer", "string"], "pattern": DIGITS["pattern"]} if is_read else DIGITS
        if field.type in RANGES:
            least, most = RANGES[field.type]
            return {"type": "integer", "minimum": least, "maximum": most}
        if field.type in FRACTIONS:
            return {"type": "number"}
        if field.type == FieldDescriptor.TYPE_BOOL:
            return {"type": "boolean"}
        if field.type == FieldDescriptor.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        if is_read and field.name == DOCUMENT:
            return {"type": ["object", "string"]}
        return {"type": "string"}
