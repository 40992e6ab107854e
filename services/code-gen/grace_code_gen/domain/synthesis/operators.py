"""The operators of the language, each a function on values beside the Python text that computes it."""

import math
import operator as python
from collections import Counter
from collections.abc import Callable
from itertools import accumulate, combinations, pairwise, zip_longest
from typing import Final

from .inner_functions import CALLS
from .terms import ADD, AND, ANY, ATOM, BITOR, COMPARE, MULTIPLY, NOT, OR, POWER, TERNARY, UNARY, Operator
from .types import Type, Value

LONGEST: Final = 2_000  # elements or letters a value may have
_BITS: Final = 256  # of an integer


def _sized(value: Value) -> Value:
    if len(value) > LONGEST:
        raise ValueError("too long to evaluate")
    return value


def _multiply(left: Value, right: Value) -> Value:
    product = left * right
    if isinstance(product, int) and product.bit_length() > _BITS:
        raise OverflowError("too large to evaluate")
    return product


def _power(base: Value, exponent: Value) -> Value:
    if isinstance(base, int) and (exponent < 0 or base.bit_length() * exponent > _BITS):
        raise OverflowError("too large to evaluate")
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError("not real")
    return result


def _repeat(items: Value, times: int) -> Value:
    if len(items) * times > LONGEST:
        raise ValueError("too long to evaluate")
    return items * times


def _range(start: int, stop: int, step: int = 1) -> tuple[int, ...]:
    steps = range(start, stop, step)
    if len(steps) > LONGEST:
        raise ValueError("too long to evaluate")
    return tuple(steps)


def _factorial(number: int) -> int:
    if number > 55:
        raise OverflowError("too large to evaluate")
    return math.factorial(number)


def _unsigned(number: int) -> int:
    if number < 0:
        raise ValueError("negative")
    return number


def _product(values: Value) -> Value:
    result: Value = 1
    for value in values:
        result = _multiply(result, value)
    return result


def _in_order(items: frozenset[Value] | Value) -> tuple[Value, ...]:
    return tuple(sorted(items))


def _unique(items: Value) -> tuple[Value, ...]:
    return tuple(dict.fromkeys(items))


def _flatten(lists: Value) -> tuple[Value, ...]:
    return tuple(item for inner in lists for item in inner)


def _index(items: Value, position: int) -> Value:
    return items[position]


def _median(values: Value) -> Value:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _short(items: Value, length: int) -> Value:
    if len(items) > length:
        raise ValueError("too long to evaluate")
    return items


def _zipped(left: Value, right: Value) -> tuple[Value, ...]:
    return tuple(zip(left, right, strict=False))


def _lookup(mapping: Value, key: Value, default: Value) -> Value:
    return dict(mapping).get(key, default)


def _nonempty(separator: str) -> str:
    if not separator:
        raise ValueError("empty separator")
    return separator


_INFIX_LEVELS: Final = {"+": ADD, "-": ADD, "*": MULTIPLY, "/": MULTIPLY, "//": MULTIPLY, "%": MULTIPLY, "&": BITOR}


def _infix(
    name: str, symbol: str, params: tuple[Type, Type], result: Type, apply: Callable[..., Value], *, swaps: bool = False
) -> Operator:
    level = _INFIX_LEVELS.get(symbol, BITOR if symbol in {"|", "^"} else COMPARE)
    left = level + 1 if level == COMPARE else level
    return Operator(name, params, result, apply, f"{{0}} {symbol} {{1}}", (left, level + 1), level, swaps)


def _call(
    name: str,
    params: tuple[Type, ...],
    result: Type,
    apply: Callable[..., Value],
    template: str,
    *,
    imports: tuple[str, ...] = (),
    level: int = ATOM,
    slots: tuple[int, ...] | None = None,
    swaps: bool = False,
) -> Operator:
    if slots is None:  # what stands before a dot or a bracket, or beside an infix symbol, must bind tightly
        slots = tuple(_slot(template, position) for position in range(len(params)))
    return Operator(name, params, result, apply, template, slots, level, swaps, imports)


def _slot(template: str, position: int) -> int:
    before, after = template.split(f"{{{position}}}", 1)
    alone = (not before or before[-1] in "([,: ") and (not after or after[0] in ")],: ")
    neighbours = before.rstrip()[-1:] in {"(", "[", ",", ":", ""} and after.lstrip()[:1] in {")", "]", ",", ":", ""}
    return ANY if alone and neighbours and (before or after) else ATOM


def _inner(name: str, params: tuple[Type, ...], result: Type) -> Operator:
    operands = ", ".join(f"{{{position}}}" for position in range(len(params)))
    return Operator(name, params, result, CALLS[name], f"{name}({operands})", (ANY,) * len(params), function=name)


def _or(left: bool, right: bool) -> bool:
    return left or right


def _and(left: bool, right: bool) -> bool:
    return left and right


def _if_else(then: Value, test: bool, otherwise: Value) -> Value:
    return then if test else otherwise


_NUMBERS: Final = (
    _infix("add", "+", ("num", "num"), "num", python.add, swaps=True),
    _infix("subtract", "-", ("num", "num"), "num", python.sub),
    _infix("multiply", "*", ("num", "num"), "num", _multiply, swaps=True),
    _infix("divide", "/", ("num", "num"), "float", python.truediv),
    _infix("floor_divide", "//", ("int", "int"), "int", python.floordiv),
    _infix("modulo", "%", ("int", "int"), "int", python.mod),
    _infix("modulo_float", "%", ("float", "num"), "float", python.mod),
    _infix("bit_xor", "^", ("int", "int"), "int", python.xor, swaps=True),
    _infix("bit_and", "&", ("int", "int"), "int", python.and_, swaps=True),
    _infix("bit_or", "|", ("int", "int"), "int", python.or_, swaps=True),
    Operator("power", ("num", "int"), "num", _power, "{0}**{1}", (ATOM, UNARY), POWER),
    Operator("negate", ("num",), "num", python.neg, "-{0}", (UNARY,), UNARY),
    _call(
        "square_root",
        ("num",),
        "float",
        lambda n: float(_power(float(_unsigned(n)), 0.5)),
        "{0} ** 0.5",
        slots=(ATOM,),
        level=POWER,
    ),
    _call("absolute", ("num",), "num", abs, "abs({0})"),
    _call("smaller", ("ordered", "ordered"), "ordered", min, "min({0}, {1})", swaps=True),
    _call("larger", ("ordered", "ordered"), "ordered", max, "max({0}, {1})", swaps=True),
    _call("round", ("float",), "int", round, "round({0})"),
    _call("round_to", ("float", "int"), "float", round, "round({0}, {1})"),
    _call("truncate", ("float",), "int", lambda x: _product((int(x),)), "int({0})"),
    _call("to_float", ("int",), "float", float, "float({0})"),
    _call("ceiling", ("float",), "int", math.ceil, "math.ceil({0})", imports=("import math",)),
    _call("floor", ("float",), "int", math.floor, "math.floor({0})", imports=("import math",)),
    _call("gcd", ("int", "int"), "int", math.gcd, "math.gcd({0}, {1})", imports=("import math",), swaps=True),
    _call(
        "lcm",
        ("int", "int"),
        "int",
        lambda a, b: _product((math.lcm(a, b),)),
        "math.lcm({0}, {1})",
        imports=("import math",),
        swaps=True,
    ),
    _call("integer_root", ("int",), "int", math.isqrt, "math.isqrt({0})", imports=("import math",)),
    _call("factorial", ("int",), "int", _factorial, "math.factorial({0})", imports=("import math",)),
    _call(
        "choose",
        ("int", "int"),
        "int",
        lambda n, k: math.comb(n if n < 200 else -1, k),
        "math.comb({0}, {1})",
        imports=("import math",),
    ),
    _call("power_modulo", ("int", "int", "int"), "int", lambda b, e, m: pow(b, _unsigned(e), m), "pow({0}, {1}, {2})"),
    _call("int_to_text", ("int",), "str", str, "str({0})"),
    _call("float_to_text", ("float",), "str", str, "str({0})"),
    _call("binary", ("int",), "str", bin, "bin({0})"),
    _call("binary_digits", ("int",), "str", lambda n: format(n, "b"), 'format({0}, "b")'),
    _call("hexadecimal", ("int",), "str", lambda n: format(n, "x"), 'format({0}, "x")'),
    _call("octal", ("int",), "str", lambda n: format(n, "o"), 'format({0}, "o")'),
    _call("character", ("int",), "char", chr, "chr({0})"),
    _call("is_even", ("int",), "bool", lambda n: n % 2 == 0, "{0} % 2 == 0", slots=(MULTIPLY,), level=COMPARE),
    _call("is_odd", ("int",), "bool", lambda n: n % 2 == 1, "{0} % 2 == 1", slots=(MULTIPLY,), level=COMPARE),
    _call(
        "is_divisible",
        ("int", "int"),
        "bool",
        lambda a, b: a % b == 0,
        "{0} % {1} == 0",
        slots=(MULTIPLY, UNARY),
        level=COMPARE,
    ),
    _call("is_whole", ("float",), "bool", float.is_integer, "{0}.is_integer()", slots=(ATOM,)),
)
_TRUTH: Final = (
    _infix("equal", "==", ("a", "a"), "bool", python.eq, swaps=True),
    _infix("unequal", "!=", ("a", "a"), "bool", python.ne, swaps=True),
    _infix("less", "<", ("ordered", "ordered"), "bool", python.lt),
    _infix("at_most", "<=", ("ordered", "ordered"), "bool", python.le),
    Operator(
        "between",
        ("ordered", "ordered", "ordered"),
        "bool",
        lambda a, b, c: a <= b <= c,
        "{0} <= {1} <= {2}",
        (BITOR,) * 3,
        COMPARE,
    ),
    Operator("not", ("bool",), "bool", python.not_, "not {0}", (NOT,), NOT),
    Operator("and", ("bool", "bool"), "bool", _and, "{0} and {1}", (AND, NOT), AND, True),
    Operator("or", ("bool", "bool"), "bool", _or, "{0} or {1}", (OR, AND), OR, True),
    Operator("if_else", ("a", "bool", "a"), "a", _if_else, "{0} if {1} else {2}", (OR, OR, TERNARY), TERNARY),
    _call("is_empty", ("list[a]",), "bool", python.not_, "not {0}", slots=(NOT,), level=NOT),
    _call("is_empty_text", ("str",), "bool", python.not_, "not {0}", slots=(NOT,), level=NOT),
    _call(
        "is_integer_value", ("any",), "bool", lambda v: type(v) is int, "type({0}) is int", slots=(ANY,), level=COMPARE
    ),
    _call("is_text_value", ("any",), "bool", lambda v: isinstance(v, str), "isinstance({0}, str)"),
    _call("is_float_value", ("any",), "bool", lambda v: isinstance(v, float), "isinstance({0}, float)"),
    _call("as_integer", ("any",), "int", int, "int({0})"),
    _call("as_float", ("any",), "float", float, "float({0})"),
    _call("as_text", ("any",), "str", str, "str({0})"),
)
_TEXT: Final = (
    _call("length_text", ("str",), "int", len, "len({0})"),
    _call("upper", ("text",), "0", str.upper, "{0}.upper()"),
    _call("lower", ("text",), "0", str.lower, "{0}.lower()"),
    _call("swapcase", ("text",), "0", str.swapcase, "{0}.swapcase()"),
    _call("title", ("str",), "str", str.title, "{0}.title()"),
    _call("capitalize", ("str",), "str", str.capitalize, "{0}.capitalize()"),
    _call("strip", ("str",), "str", str.strip, "{0}.strip()"),
    _call("reverse_text", ("str",), "str", lambda s: s[::-1], "{0}[::-1]"),
    _infix("concatenate_text", "+", ("text", "text"), "str", lambda a, b: _sized(a + b)),
    _infix("repeat_text", "*", ("text", "int"), "str", _repeat),
    _call("letter", ("str", "int"), "char", _index, "{0}[{1}]"),
    _call("first_letter", ("str",), "char", lambda s: s[0], "{0}[0]"),
    _call("last_letter", ("str",), "char", lambda s: s[-1], "{0}[-1]"),
    _call("text_from", ("str", "int"), "str", lambda s, i: s[i:], "{0}[{1}:]"),
    _call("text_until", ("str", "int"), "str", lambda s, i: s[:i], "{0}[:{1}]"),
    _call("text_between", ("str", "int", "int"), "str", lambda s, i, j: s[i:j], "{0}[{1}:{2}]", slots=(ATOM, ADD, ADD)),
    _call("text_step", ("str", "int"), "str", lambda s, k: s[::k], "{0}[::{1}]"),
    _call("words", ("str",), "list[str]", lambda s: tuple(s.split()), "{0}.split()"),
    _call("lines", ("str",), "list[str]", lambda s: tuple(s.splitlines()), "{0}.splitlines()"),
    _call("split", ("str", "text"), "list[str]", lambda s, sep: tuple(s.split(sep)), "{0}.split({1})"),
    _call(
        "join",
        ("list[text]", "text"),
        "str",
        lambda parts, sep: _sized(sep.join(parts)),
        "{1}.join({0})",
        slots=(ANY, ATOM),
    ),
    _call("concatenate_all", ("list[text]",), "str", lambda parts: _sized("".join(parts)), '"".join({0})'),
    _call(
        "replace",
        ("str", "text", "text"),
        "str",
        lambda s, a, b: _sized(s.replace(_nonempty(a), b)),
        "{0}.replace({1}, {2})",
    ),
    _call("remove", ("str", "text"), "str", lambda s, a: s.replace(_nonempty(a), ""), '{0}.replace({1}, "")'),
    _call("count_text", ("str", "text"), "int", str.count, "{0}.count({1})"),
    _call("find", ("str", "text"), "int", str.find, "{0}.find({1})"),
    _call(
        "contains_text", ("text", "str"), "bool", lambda a, b: a in b, "{0} in {1}", slots=(BITOR, BITOR), level=COMPARE
    ),
    _call(
        "lacks_text",
        ("text", "str"),
        "bool",
        lambda a, b: a not in b,
        "{0} not in {1}",
        slots=(BITOR, BITOR),
        level=COMPARE,
    ),
    _call("starts_with", ("str", "text"), "bool", str.startswith, "{0}.startswith({1})"),
    _call("ends_with", ("str", "text"), "bool", str.endswith, "{0}.endswith({1})"),
    _call("is_alpha", ("text",), "bool", str.isalpha, "{0}.isalpha()"),
    _call("is_digit", ("text",), "bool", str.isdigit, "{0}.isdigit()"),
    _call("is_alnum", ("text",), "bool", str.isalnum, "{0}.isalnum()"),
    _call("is_upper", ("text",), "bool", str.isupper, "{0}.isupper()"),
    _call("is_lower", ("text",), "bool", str.islower, "{0}.islower()"),
    _call("is_space", ("text",), "bool", str.isspace, "{0}.isspace()"),
    _call(
        "is_vowel",
        ("char",),
        "bool",
        lambda c: c.lower() in "aeiou",
        '{0}.lower() in "aeiou"',
        slots=(ATOM,),
        level=COMPARE,
    ),
    _call(
        "is_consonant",
        ("char",),
        "bool",
        lambda c: c.isalpha() and c.lower() not in "aeiou",
        '{0}.isalpha() and {0}.lower() not in "aeiou"',
        slots=(ATOM,),
        level=AND,
    ),
    _call("is_palindrome", ("str",), "bool", lambda s: s == s[::-1], "{0} == {0}[::-1]", slots=(ATOM,), level=COMPARE),
    _call("text_to_int", ("text",), "int", int, "int({0})"),
    _call("parse_base", ("str", "int"), "int", int, "int({0}, {1})"),
    _call("text_to_float", ("text",), "float", float, "float({0})"),
    _call("code", ("char",), "int", ord, "ord({0})"),
    _call(
        "alphabet_position",
        ("char",),
        "int",
        lambda c: ord(c.lower()) - 97,
        'ord({0}.lower()) - ord("a")',
        slots=(ATOM,),
        level=ADD,
    ),
    _call("sorted_letters", ("str",), "list[char]", _in_order, "sorted({0})"),
    _call("sorted_text", ("str",), "str", lambda s: "".join(sorted(s)), '"".join(sorted({0}))'),
    _call("letter_set", ("str",), "set[char]", frozenset, "set({0})"),
    _call("letters", ("str",), "list[char]", tuple, "list({0})"),
    _call("pad_zeros", ("str", "int"), "str", lambda s, n: s.zfill(n if n < LONGEST else -1), "{0}.zfill({1})"),
    _call(
        "letter_counts",
        ("str",),
        "dict[char,int]",
        lambda s: tuple(Counter(s).items()),
        "dict(Counter({0}))",
        imports=("from collections import Counter",),
    ),
    _call("pad_left", ("str", "int"), "str", lambda s, n: s.rjust(n if n < LONGEST else 0), "{0}.rjust({1})"),
)
_LISTS: Final = (
    _call("length", ("list[a]",), "int", len, "len({0})"),
    _call("length_set", ("set[a]",), "int", len, "len({0})"),
    _call("length_dict", ("dict[a,b]",), "int", len, "len({0})"),
    _call("sum", ("list[num]",), "num", sum, "sum({0})"),
    _call("product", ("list[num]",), "num", _product, "math.prod({0})", imports=("import math",)),
    _call("maximum", ("list[ordered]",), "ordered", max, "max({0})"),
    _call("minimum", ("list[ordered]",), "ordered", min, "min({0})"),
    _call(
        "mean", ("list[num]",), "float", lambda v: sum(v) / len(v), "sum({0}) / len({0})", slots=(ANY,), level=MULTIPLY
    ),
    _call("median", ("list[num]",), "float", _median, "statistics.median({0})", imports=("import statistics",)),
    _call("sorted", ("list[a]",), "list[a]", _in_order, "sorted({0})"),
    _call(
        "sorted_descending",
        ("list[a]",),
        "list[a]",
        lambda v: tuple(sorted(v, reverse=True)),
        "sorted({0}, reverse=True)",
    ),
    _call("reverse", ("list[a]",), "list[a]", lambda v: v[::-1], "{0}[::-1]"),
    _call("item", ("list[a]", "int"), "a", _index, "{0}[{1}]"),
    _call("first", ("list[a]",), "a", lambda v: v[0], "{0}[0]"),
    _call("last", ("list[a]",), "a", lambda v: v[-1], "{0}[-1]"),
    _call("items_from", ("list[a]", "int"), "list[a]", lambda v, i: v[i:], "{0}[{1}:]"),
    _call("items_until", ("list[a]", "int"), "list[a]", lambda v, i: v[:i], "{0}[:{1}]"),
    _call(
        "items_between",
        ("list[a]", "int", "int"),
        "list[a]",
        lambda v, i, j: v[i:j],
        "{0}[{1}:{2}]",
        slots=(ATOM, ADD, ADD),
    ),
    _call("items_step", ("list[a]", "int"), "list[a]", lambda v, k: v[::k], "{0}[::{1}]"),
    _call(
        "items_from_step",
        ("list[a]", "int", "int"),
        "list[a]",
        lambda v, i, k: v[i::k],
        "{0}[{1}::{2}]",
        slots=(ATOM, ADD, ADD),
    ),
    _infix("concatenate", "+", ("list[a]", "list[a]"), "list[a]", lambda a, b: _sized(a + b)),
    _infix("repeat", "*", ("list[a]", "int"), "list[a]", _repeat),
    _call("append", ("list[a]", "a"), "list[a]", lambda v, x: (*v, x), "{0} + [{1}]", slots=(ADD, ANY), level=ADD),
    _call(
        "prepend", ("a", "list[a]"), "list[a]", lambda x, v: (x, *v), "[{0}] + {1}", slots=(ANY, MULTIPLY), level=ADD
    ),
    _call("singleton", ("a",), "list[a]", lambda x: (x,), "[{0}]", slots=(ANY,)),
    _call("contains", ("a", "list[a]"), "bool", lambda x, v: x in v, "{0} in {1}", slots=(BITOR, BITOR), level=COMPARE),
    _call(
        "lacks",
        ("a", "list[a]"),
        "bool",
        lambda x, v: x not in v,
        "{0} not in {1}",
        slots=(BITOR, BITOR),
        level=COMPARE,
    ),
    _call("in_set", ("a", "set[a]"), "bool", lambda x, v: x in v, "{0} in {1}", slots=(BITOR, BITOR), level=COMPARE),
    _call("index", ("list[a]", "a"), "int", tuple.index, "{0}.index({1})"),
    _call("count", ("list[a]", "a"), "int", tuple.count, "{0}.count({1})"),
    _call("set", ("list[a]",), "set[a]", frozenset, "set({0})"),
    _call("sorted_set", ("set[a]",), "list[a]", _in_order, "sorted({0})"),
    _call("unique", ("list[a]",), "list[a]", _unique, "list(dict.fromkeys({0}))"),
    _infix("intersection", "&", ("set[a]", "set[a]"), "set[a]", python.and_, swaps=True),
    _infix("union", "|", ("set[a]", "set[a]"), "set[a]", python.or_, swaps=True),
    _infix("difference", "-", ("set[a]", "set[a]"), "set[a]", python.sub),
    _infix("subset", "<=", ("set[a]", "set[a]"), "bool", python.le),
    _call(
        "flatten",
        ("list[list[a]]",),
        "list[a]",
        lambda v: _sized(_flatten(v)),
        "[item for inner in {0} for item in inner]",
        slots=(OR,),
    ),
    _call(
        "transpose",
        ("list[list[a]]",),
        "list[list[a]]",
        lambda v: tuple(zip(*v, strict=True)),
        "[list(column) for column in zip(*{0})]",
        slots=(OR,),
    ),
    _call("range", ("int",), "range", lambda n: _range(0, n), "range({0})"),
    _call("range_from_one", ("int",), "range", lambda n: _range(1, n + 1), "range(1, {0} + 1)", slots=(ADD,)),
    _call("range_between", ("int", "int"), "range", _range, "range({0}, {1})"),
    _call(
        "range_through", ("int", "int"), "range", lambda a, b: _range(a, b + 1), "range({0}, {1} + 1)", slots=(ANY, ADD)
    ),
    _call("indices", ("list[a]",), "range", lambda v: _range(0, len(v)), "range(len({0}))"),
    _call("indices_text", ("str",), "range", lambda v: _range(0, len(v)), "range(len({0}))"),
    _call("range_step", ("int", "int", "int"), "range", lambda a, b, k: _range(a, b, k), "range({0}, {1}, {2})"),
    _call("range_list", ("range",), "list[int]", tuple, "list({0})"),
    _call("range_sum", ("range",), "int", sum, "sum({0})"),
    _call("adjacent", ("list[a]",), "pairs[a,a]", lambda v: tuple(pairwise(v)), "zip({0}, {0}[1:])", slots=(ATOM,)),
    _call(
        "adjacent_letters",
        ("str",),
        "pairs[char,char]",
        lambda v: tuple(pairwise(v)),
        "zip({0}, {0}[1:])",
        slots=(ATOM,),
    ),
    _call("zip", ("list[a]", "list[b]"), "pairs[a,b]", _zipped, "zip({0}, {1})"),
    _call("zip_text", ("str", "str"), "pairs[char,char]", _zipped, "zip({0}, {1})"),
    _call("enumerate", ("list[a]",), "pairs[int,a]", lambda v: tuple(enumerate(v)), "enumerate({0})"),
    _call("enumerate_text", ("str",), "pairs[int,char]", lambda v: tuple(enumerate(v)), "enumerate({0})"),
    _call(
        "combinations",
        ("list[a]",),
        "pairs[a,a]",
        lambda v: tuple(combinations(_short(v, 40), 2)),
        "combinations({0}, 2)",
        imports=("from itertools import combinations",),
    ),
    _call(
        "triples",
        ("list[a]",),
        "pairs[a,a,a]",
        lambda v: tuple(combinations(_short(v, 14), 3)),
        "combinations({0}, 3)",
        imports=("from itertools import combinations",),
    ),
    _call("dict_items", ("dict[a,b]",), "pairs[a,b]", lambda d: d, "{0}.items()"),
    _call("keys", ("dict[a,b]",), "list[a]", lambda d: tuple(k for k, _ in d), "list({0})"),
    _call("values", ("dict[a,b]",), "list[b]", lambda d: tuple(v for _, v in d), "list({0}.values())", slots=(ATOM,)),
    _call("get", ("dict[a,b]", "a"), "b", lambda d, k: dict(d)[k], "{0}[{1}]"),
    _call("get_or", ("dict[a,b]", "a", "b"), "b", _lookup, "{0}.get({1}, {2})"),
    _call(
        "has_key",
        ("a", "dict[a,b]"),
        "bool",
        lambda k, d: k in dict(d),
        "{0} in {1}",
        slots=(BITOR, BITOR),
        level=COMPARE,
    ),
    _call(
        "counts",
        ("list[a]",),
        "dict[a,int]",
        lambda v: tuple(Counter(v).items()),
        "dict(Counter({0}))",
        imports=("from collections import Counter",),
    ),
    _call(
        "dict_zip",
        ("list[a]", "list[b]"),
        "dict[a,b]",
        lambda k, v: tuple(dict(zip(k, v, strict=False)).items()),
        "dict(zip({0}, {1}))",
        slots=(ANY, ANY),
    ),
    _call(
        "dict_merge",
        ("dict[a,b]", "dict[a,b]"),
        "dict[a,b]",
        lambda a, b: tuple({**dict(a), **dict(b)}.items()),
        "{{**{0}, **{1}}}",
        slots=(OR, OR),
    ),
    _call(
        "running_sums",
        ("list[num]",),
        "list[num]",
        lambda v: tuple(accumulate(v)),
        "list(accumulate({0}))",
        imports=("from itertools import accumulate",),
        slots=(ANY,),
    ),
    _call(
        "running_maxima",
        ("list[ordered]",),
        "list[ordered]",
        lambda v: tuple(accumulate(v, max)),
        "list(accumulate({0}, max))",
        imports=("from itertools import accumulate",),
        slots=(ANY,),
    ),
    _call(
        "running_minima",
        ("list[ordered]",),
        "list[ordered]",
        lambda v: tuple(accumulate(v, min)),
        "list(accumulate({0}, min))",
        imports=("from itertools import accumulate",),
        slots=(ANY,),
    ),
    _call("first_of_pair", ("tuple[a,b]",), "a", lambda p: p[0], "{0}[0]"),
    _call("second_of_pair", ("tuple[a,b]",), "b", lambda p: p[1], "{0}[1]"),
    _call("pair", ("ordered", "ordered"), "tuple[0,1]", lambda a, b: (a, b), "({0}, {1})", slots=(ANY, ANY)),
    _call(
        "zip_longest",
        ("list[a]", "list[a]"),
        "list[a]",
        lambda a, b: tuple(x for p in zip_longest(a, b, fillvalue=None) for x in p if x is not None),
        "[item for pair in zip_longest({0}, {1}) for item in pair if item is not None]",
        imports=("from itertools import zip_longest",),
        slots=(ANY, ANY),
    ),
)
_INNER: Final = (
    _inner("is_prime", ("int",), "bool"),
    _inner("prime_factors", ("int",), "list[int]"),
    _inner("divisors", ("int",), "list[int]"),
    _inner("fibonacci", ("int",), "int"),
    _inner("digits", ("int",), "list[int]"),
    _inner("signed_digits", ("int",), "list[int]"),
    _inner("to_base", ("int", "int"), "str"),
    _inner("depths", ("str",), "list[int]"),
    _inner("is_balanced", ("str",), "bool"),
    _inner("bracket_groups", ("str",), "list[str]"),
    _inner("shift_letter", ("char", "int"), "char"),
    _inner("sort_every", ("list[a]", "int"), "list[a]"),
    _inner("rotate", ("list[a]", "int"), "list[a]"),
    _inner("interleave", ("list[a]", "a"), "list[a]"),
    _inner("to_roman", ("int",), "str"),
    _inner("collatz", ("int",), "list[int]"),
    _inner("chunks", ("list[a]", "int"), "list[list[a]]"),
    _inner("windows", ("list[a]", "int"), "list[list[a]]"),
    _inner("runs", ("list[a]",), "list[list[a]]"),
    _inner("is_perfect_power", ("int", "int"), "bool"),
    _inner("subarrays", ("list[a]",), "list[list[a]]"),
    _inner("is_subsequence", ("list[a]", "list[a]"), "bool"),
)


def _text_variant(name: str, inner: str, params: tuple[Type, ...], result: Type) -> Operator:
    operands = ", ".join(f"{{{position}}}" for position in range(len(params)))
    return Operator(name, params, result, CALLS[inner], f"{inner}({operands})", (ANY,) * len(params), function=inner)


_INNER_TEXT: Final = (
    _text_variant("rotate_text", "rotate", ("str", "int"), "str"),
    _text_variant("chunks_text", "chunks", ("str", "int"), "list[str]"),
    _text_variant("windows_text", "windows", ("str", "int"), "list[str]"),
    _text_variant("runs_text", "runs", ("str",), "list[list[char]]"),
    _text_variant("substrings", "subarrays", ("str",), "list[str]"),
    _text_variant("is_subsequence_text", "is_subsequence", ("str", "str"), "bool"),
)

OPERATORS: Final[tuple[Operator, ...]] = _NUMBERS + _TRUTH + _TEXT + _LISTS + _INNER + _INNER_TEXT
