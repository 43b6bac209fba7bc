"""Plain values as TOML, which the standard library reads and doesn't write."""

import json
import re
from collections.abc import Mapping
from typing import Any


def encode(values: Mapping[str, Any]) -> bytes:
    """A TOML file of nested dictionaries, lists, numbers and texts; what is None is left out."""
    lines: list[str] = []
    _write_table(lines, "", values)
    return "\n".join(lines).lstrip("\n").encode() + b"\n"


def _write_table(lines: list[str], name: str, table: Mapping[str, Any]) -> None:
    if name:
        lines += ["", f"[{name}]"]
    deeper = {key: value for key, value in table.items() if isinstance(value, Mapping) and value}
    sets = {key: value for key, value in table.items() if _is_tables(value)}
    for key, value in table.items():
        if value is not None and key not in deeper and key not in sets:
            lines.append(f"{_key(key)} = {_text(value)}")
    for key, value in deeper.items():
        _write_table(lines, f"{name}.{_key(key)}" if name else _key(key), value)
    for key, entries in sets.items():
        for entry in entries:
            lines += ["", f"[[{key}]]", *(f"{_key(k)} = {_text(v)}" for k, v in entry.items() if v is not None)]


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else json.dumps(key, ensure_ascii=False)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
