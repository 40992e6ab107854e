"""The types of the enumerated language: written as Python writes them, inferred from examples, matched to patterns.

A type is a string: `int`, `list[str]`, `tuple[int,str]`, `dict[str,int]`. Two of them Python does not have: `char`, a
string known to be one character long, and `pairs[a,b]`, something that yields pairs and is only ever iterated over.
In a pattern a single letter is a type variable, `text` means str or char, `num` int or float, `seq[a]` whatever
iterates over elements of type a. Values are kept hashable: lists and tuples as tuples, sets as frozensets, a dict as
the tuple of its items.
"""

import ast
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

Type = str
Value = Any  # a value of the enumerated language, which is typed by its Type and not by Python's

UNKNOWN: Type = "?"
_ANNOTATIONS = {"List": "list", "Dict": "dict", "Tuple": "tuple", "Set": "set", "Sequence": "list", "Iterable": "list"}


@cache
def split(type_: Type) -> tuple[str, tuple[Type, ...]]:
    """Return the head and the parameters of a type: `dict[str,int]` gives ("dict", ("str", "int"))."""
    if "[" not in type_:
        return type_, ()
    head, inner = type_[:-1].split("[", 1)
    parameters: list[str] = []
    depth, start = 0, 0
    for position, letter in enumerate(inner):
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            parameters.append(inner[start:position])
            start = position + 1
    return head, (*parameters, inner[start:])


@cache
def match(pattern: Type, type_: Type) -> tuple[tuple[str, Type], ...] | None:
    """Return what the pattern's type variables stand for in `type_`, or None where it does not fit."""
    if pattern == type_:
        return ()
    if len(pattern) == 1:
        return None if split(type_)[0] in {"pairs", "range"} else ((pattern, type_),)
    if pattern == "text":
        return () if type_ in {"str", "char"} else None
    if pattern == "num":
        return () if type_ in {"int", "float"} else None
    if pattern == "ordered":
        return () if type_ in {"int", "float", "str", "char"} else None
    head, parameters = split(pattern)
    type_head, type_parameters = split(type_)
    if head != type_head or len(parameters) != len(type_parameters):
        return None
    bound: dict[str, Type] = {}
    for inner_pattern, inner_type in zip(parameters, type_parameters, strict=True):
        inner = match(inner_pattern, inner_type)
        if inner is None or any(bound.setdefault(name, value) != value for name, value in inner):
            return None
    return tuple(bound.items())


@cache
def substitute(pattern: Type, bound: tuple[tuple[str, Type], ...]) -> Type:
    """Return the pattern with its type variables replaced."""
    for name, value in bound:
        if pattern == name:
            return value
    head, parameters = split(pattern)
    if not parameters:
        return pattern
    return f"{head}[{','.join(substitute(parameter, bound) for parameter in parameters)}]"


@cache
def element(type_: Type) -> Type | None:
    """Return the type of what an iteration over `type_` yields, or None where nothing can be iterated."""
    head, parameters = split(type_)
    if head == "str":
        return "char"
    if head == "range":
        return "int"
    if head == "pairs":
        return f"tuple[{','.join(parameters)}]"
    if head in {"list", "set"}:
        return parameters[0]
    return None


@cache
def depth(type_: Type) -> int:
    """Return how deeply the type is nested: 0 for int, 1 for list[int]."""
    return 1 + max(map(depth, split(type_)[1])) if "[" in type_ else 0


def join(left: Type, right: Type) -> Type:
    """Return the narrowest type that holds values of both."""
    if left == right or right == UNKNOWN:
        return left
    if left == UNKNOWN:
        return right
    if {left, right} == {"int", "float"}:
        return "float"
    if {left, right} == {"str", "char"}:
        return "str"
    left_head, left_parameters = split(left)
    right_head, right_parameters = split(right)
    if left_head == right_head and left_parameters and len(left_parameters) == len(right_parameters):
        joined = (join(a, b) for a, b in zip(left_parameters, right_parameters, strict=True))
        return f"{left_head}[{','.join(joined)}]"
    return "any"


def joined(types: Iterable[Type]) -> Type:
    """Return the narrowest type that holds values of all."""
    result = UNKNOWN
    for type_ in types:
        result = join(result, type_)
    return result


def type_of(value: object) -> Type:
    """Return the type of a JSON value or of the Python value it stands for."""
    if value is None:
        return "none"
    for python_type in (bool, int, float, str):
        if isinstance(value, python_type):
            return python_type.__name__
    if isinstance(value, tuple):
        return f"tuple[{','.join(map(type_of, value))}]" if value else "list[?]"
    if isinstance(value, dict):
        return f"dict[{joined(map(type_of, value))},{joined(map(type_of, value.values()))}]"
    if isinstance(value, set | frozenset):
        return f"set[{joined(map(type_of, value))}]"
    if isinstance(value, Sequence):
        return f"list[{joined(map(type_of, value))}]"
    return "any"


def settle(type_: Type, default: Type = "int") -> Type:
    """Return the type with what the examples leave open filled in."""
    return type_.replace(UNKNOWN, default)


def freeze(value: object, type_: Type) -> Value:
    """Return the hashable form of a JSON value that is to be of `type_`."""
    if isinstance(value, dict):
        _, (key_type, value_type) = split(type_) if type_.startswith("dict[") else ("dict", ("any", "any"))
        return tuple((freeze(key, key_type), freeze(inner, value_type)) for key, inner in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        head, parameters = split(type_)
        if head == "tuple" and len(parameters) == len(value):
            return tuple(freeze(inner, parameter) for inner, parameter in zip(value, parameters, strict=True))
        frozen = (freeze(inner, parameters[0] if parameters else "any") for inner in value)
        return frozenset(frozen) if head == "set" else tuple(frozen)
    if type_ == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def annotated(annotation: ast.expr | None) -> Type:
    """Return the type an annotation states, `?` where it says nothing the language knows."""
    if annotation is None:
        return UNKNOWN
    if isinstance(annotation, ast.Constant):
        return "none" if annotation.value is None else UNKNOWN
    if isinstance(annotation, ast.Attribute):
        return annotated(ast.Name(annotation.attr))
    if isinstance(annotation, ast.Name):
        name = _ANNOTATIONS.get(annotation.id, annotation.id)
        if name in {"int", "float", "bool", "str"}:
            return name
        return {"list": "list[?]", "set": "set[?]", "dict": "dict[?,?]"}.get(name, UNKNOWN)
    if isinstance(annotation, ast.Subscript):
        head = split(annotated(annotation.value))[0]
        if isinstance(annotation.value, ast.Name) and annotation.value.id in {"Tuple", "tuple"}:
            head = "tuple"
        inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        if isinstance(annotation.value, ast.Name) and annotation.value.id == "Optional":
            return annotated(inner[0])
        if head in {"list", "set", "dict", "tuple"} and len(inner) == {"list": 1, "set": 1, "dict": 2}.get(
            head, len(inner)
        ):
            return f"{head}[{','.join(map(annotated, inner))}]"
    return UNKNOWN
