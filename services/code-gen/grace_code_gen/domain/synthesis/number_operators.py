"""Operators on numbers and truth values."""

import math
import operator as python
from typing import Final

from .bounded import factorial, multiply, power, product, unsigned
from .productions import call, infix
from .terms import AND, ANY, ATOM, BITOR, COMPARE, MULTIPLY, NOT, OR, POWER, TERNARY, UNARY, Operator
from .types import Value


def _or(left: bool, right: bool) -> bool:
    return left or right


def _and(left: bool, right: bool) -> bool:
    return left and right


def _if_else(then: Value, test: bool, otherwise: Value) -> Value:
    return then if test else otherwise


NUMBERS: Final = (
    infix("add", "+", ("num", "num"), "num", python.add, swaps=True),
    infix("subtract", "-", ("num", "num"), "num", python.sub),
    infix("multiply", "*", ("num", "num"), "num", multiply, swaps=True),
    infix("divide", "/", ("num", "num"), "float", python.truediv),
    infix("floor_divide", "//", ("int", "int"), "int", python.floordiv),
    infix("modulo", "%", ("int", "int"), "int", python.mod),
    infix("modulo_float", "%", ("float", "num"), "float", python.mod),
    infix("bit_xor", "^", ("int", "int"), "int", python.xor, swaps=True),
    infix("bit_and", "&", ("int", "int"), "int", python.and_, swaps=True),
    infix("bit_or", "|", ("int", "int"), "int", python.or_, swaps=True),
    Operator("power", ("num", "int"), "num", power, "{0}**{1}", (ATOM, UNARY), POWER),
    Operator("negate", ("num",), "num", python.neg, "-{0}", (UNARY,), UNARY),
    call(
        "square_root",
        ("num",),
        "float",
        lambda n: float(power(float(unsigned(n)), 0.5)),
        "{0} ** 0.5",
        slots=(ATOM,),
        level=POWER,
    ),
    call("absolute", ("num",), "num", abs, "abs({0})"),
    call("smaller", ("ordered", "ordered"), "ordered", min, "min({0}, {1})", swaps=True),
    call("larger", ("ordered", "ordered"), "ordered", max, "max({0}, {1})", swaps=True),
    call("round", ("float",), "int", round, "round({0})"),
    call("round_to", ("float", "int"), "float", round, "round({0}, {1})"),
    call("truncate", ("float",), "int", lambda x: product((int(x),)), "int({0})"),
    call("to_float", ("int",), "float", float, "float({0})"),
    call("ceiling", ("float",), "int", math.ceil, "math.ceil({0})", imports=("import math",)),
    call("floor", ("float",), "int", math.floor, "math.floor({0})", imports=("import math",)),
    call("gcd", ("int", "int"), "int", math.gcd, "math.gcd({0}, {1})", imports=("import math",), swaps=True),
    call(
        "lcm",
        ("int", "int"),
        "int",
        lambda a, b: product((math.lcm(a, b),)),
        "math.lcm({0}, {1})",
        imports=("import math",),
        swaps=True,
    ),
    call("integer_root", ("int",), "int", math.isqrt, "math.isqrt({0})", imports=("import math",)),
    call("factorial", ("int",), "int", factorial, "math.factorial({0})", imports=("import math",)),
    call(
        "choose",
        ("int", "int"),
        "int",
        lambda n, k: math.comb(n if n < 200 else -1, k),
        "math.comb({0}, {1})",
        imports=("import math",),
    ),
    call("power_modulo", ("int", "int", "int"), "int", lambda b, e, m: pow(b, unsigned(e), m), "pow({0}, {1}, {2})"),
    call("int_to_text", ("int",), "str", str, "str({0})"),
    call("float_to_text", ("float",), "str", str, "str({0})"),
    call("binary", ("int",), "str", bin, "bin({0})"),
    call("binary_digits", ("int",), "str", lambda n: format(n, "b"), 'format({0}, "b")'),
    call("hexadecimal", ("int",), "str", lambda n: format(n, "x"), 'format({0}, "x")'),
    call("octal", ("int",), "str", lambda n: format(n, "o"), 'format({0}, "o")'),
    call("character", ("int",), "char", chr, "chr({0})"),
    call("is_even", ("int",), "bool", lambda n: n % 2 == 0, "{0} % 2 == 0", slots=(MULTIPLY,), level=COMPARE),
    call("is_odd", ("int",), "bool", lambda n: n % 2 == 1, "{0} % 2 == 1", slots=(MULTIPLY,), level=COMPARE),
    call(
        "is_divisible",
        ("int", "int"),
        "bool",
        lambda a, b: a % b == 0,
        "{0} % {1} == 0",
        slots=(MULTIPLY, UNARY),
        level=COMPARE,
    ),
    call("is_whole", ("float",), "bool", float.is_integer, "{0}.is_integer()", slots=(ATOM,)),
)
TRUTH: Final = (
    infix("equal", "==", ("a", "a"), "bool", python.eq, swaps=True),
    infix("unequal", "!=", ("a", "a"), "bool", python.ne, swaps=True),
    infix("less", "<", ("ordered", "ordered"), "bool", python.lt),
    infix("at_most", "<=", ("ordered", "ordered"), "bool", python.le),
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
    call("is_empty", ("list[a]",), "bool", python.not_, "not {0}", slots=(NOT,), level=NOT),
    call("is_empty_text", ("str",), "bool", python.not_, "not {0}", slots=(NOT,), level=NOT),
    call(
        "is_integer_value", ("any",), "bool", lambda v: type(v) is int, "type({0}) is int", slots=(ANY,), level=COMPARE
    ),
    call("is_text_value", ("any",), "bool", lambda v: isinstance(v, str), "isinstance({0}, str)"),
    call("is_float_value", ("any",), "bool", lambda v: isinstance(v, float), "isinstance({0}, float)"),
    call("as_integer", ("any",), "int", int, "int({0})"),
    call("as_float", ("any",), "float", float, "float({0})"),
    call("as_text", ("any",), "str", str, "str({0})"),
)
