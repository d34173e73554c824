"""Records whose every byte is checked: JSON with the hash of its own content, in one canonical form."""

from __future__ import annotations

import hashlib
import json
from typing import TypeVar

from pydantic import BaseModel, ValidationError

Record = TypeVar("Record", bound=BaseModel)


class SealError(ValueError):
    """The bytes are not what was sealed."""


def seal(record: BaseModel) -> bytes:
    """The record as JSON with its hash; a change of any byte is noticed by `unseal`."""
    return _text(record.model_dump(mode="json"))


def unseal(content: bytes, kind: type[Record]) -> Record:
    """The record of sealed bytes.

    Raises:
        SealError: a byte was changed, or the record is of another schema.
    """
    try:
        found = json.loads(content)
    except ValueError as error:
        raise SealError("is no JSON") from error
    body = found.get("record") if isinstance(found, dict) else None
    if _text(body) != content:
        raise SealError("does not have the hash it states")
    try:
        return kind.model_validate_json(json.dumps(body))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise SealError(f"has an unexpected field {field!r}: {first['msg']}") from error


def _text(body: object) -> bytes:
    inner = json.dumps(body, sort_keys=True)
    digest = hashlib.sha256(inner.encode()).hexdigest()
    return (json.dumps({"sha256": digest, "record": body}, indent=1, sort_keys=True) + "\n").encode()
