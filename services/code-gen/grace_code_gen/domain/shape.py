"""What type a parameter takes, read off its annotation or its example values, and JSON arguments bound to it.

JSON has neither tuples, sets nor integer keys; an annotation says where they are meant.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from grace_common.contract.errors import Refused

JSON = Any
SEQUENCES: Final = {"list", "List", "Sequence", "Iterable", "Collection", "MutableSequence", "Iterator"}
SETS: Final = {"set", "Set", "frozenset", "FrozenSet", "AbstractSet"}
DICTS: Final = {"dict", "Dict", "Mapping", "MutableMapping", "DefaultDict", "Counter"}
TUPLES: Final = {"tuple", "Tuple"}
SCALARS: Final = {"int", "float", "bool", "str", "bytes", "None"}


@dataclass(frozen=True, slots=True)
class Shape:
    """A type as far as arguments need it.

    kind  int, float, bool, str, bytes, None, list, tuple, set, dict, union or any
    of    element (list, set), key and value (dict), elements (tuple), members (union)
    """

    kind: str
    of: tuple["Shape", ...] = ()


ANY: Final = Shape("any")


def parameters(signature: str | None) -> list[tuple[str, Shape]]:
    """Return name and shape of each positional parameter; [] without a signature; Refused when it is no header."""
    if signature is None:
        return []
    header = signature.strip().removesuffix("...").rstrip()
    header = header if header.endswith(":") else header + ":"
    try:
        node = ast.parse(header + "\n    pass").body[-1]
    except (SyntaxError, ValueError) as problem:
        raise Refused(f"the signature is no Python function header: {signature!r:.200}") from problem
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        raise Refused(f"the signature is no Python function header: {signature!r:.200}")
    return [(argument.arg, annotated(argument.annotation)) for argument in [*node.args.posonlyargs, *node.args.args]]


def annotated(node: ast.expr | None) -> Shape:
    """Return the shape an annotation states; ANY when it states none that is known here."""
    match node:
        case ast.Constant(value=None):
            return Shape("None")
        case ast.Constant(value=str() as text):
            try:
                return annotated(ast.parse(text, mode="eval").body)
            except SyntaxError:
                return ANY
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return _plain(name)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Shape("union", (annotated(left), annotated(right)))
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return _generic(name, parts)
        case _:
            return ANY


def _plain(name: str) -> Shape:
    if name in SCALARS:
        return Shape(name)
    for names, kind in ((SEQUENCES, "list"), (SETS, "set")):
        if name in names:
            return Shape(kind, (ANY,))
    if name in DICTS:
        return Shape("dict", (ANY, ANY))
    return Shape("tuple") if name in TUPLES else ANY


def _generic(name: str, parts: Sequence[ast.expr]) -> Shape:
    if not parts:  # list[()]
        return _plain(name)
    if name == "Optional":
        return Shape("union", (annotated(parts[0]), Shape("None")))
    if name == "Union":
        return Shape("union", tuple(annotated(part) for part in parts))
    if name in SEQUENCES:
        return Shape("list", (annotated(parts[0]),))
    if name in SETS:
        return Shape("set", (annotated(parts[0]),))
    if name in DICTS and len(parts) == 2:
        return Shape("dict", (annotated(parts[0]), annotated(parts[1])))
    if name in TUPLES:
        if len(parts) == 2 and isinstance(parts[1], ast.Constant) and parts[1].value is Ellipsis:
            return Shape("tuple", (annotated(parts[0]), ANY))
        return Shape("tuple", tuple(annotated(part) for part in parts))
    return ANY


def bind(value: JSON, shape: Shape) -> Any:
    """Return the Python value that a JSON argument stands for; where they do not fit, the value as it is."""
    if shape.kind == "union":
        for member in shape.of:
            bound = bind(value, member)
            if bound is not value:
                return bound
        return value
    if isinstance(value, list):
        if shape.kind == "tuple":
            inner = shape.of if len(shape.of) == len(value) else (shape.of[:1] or (ANY,)) * len(value)
            return tuple(bind(item, part) for item, part in zip(value, inner, strict=True))
        element = shape.of[0] if shape.of else ANY
        items = [bind(item, element) for item in value]
        if shape.kind != "set":
            return items
        try:
            return {tuple(item) if isinstance(item, list) else item for item in items if not isinstance(item, dict)}
        except TypeError:  # lists in lists
            return value
    if isinstance(value, dict):
        key, element = shape.of if shape.kind == "dict" else (ANY, ANY)
        return {_key(name, key): bind(item, element) for name, item in value.items()}
    if shape.kind == "float" and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            return value
    return value


def _key(name: str, shape: Shape) -> Any:
    try:
        return {"int": int, "float": float}.get(shape.kind, str)(name)
    except ValueError:
        return name
