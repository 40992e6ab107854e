"""Python text in requests: what can be read in it, the same wherever it is judged.

Nothing here runs what it reads.
"""

import ast
import re
import warnings
from typing import Final

from grace_common.contract.errors import Refused

MAX_NESTING: Final = 200  # levels of the syntax tree; walking a deeper one would meet Python's recursion limit
_SURELY_SHALLOW: Final = 100  # characters; none of them opens two levels
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")  # the contract's `Identifier`
_READS_LIKE_A_DEFINITION: Final = re.compile(r"^def\s+([A-Za-z_]\w*)", re.MULTILINE)


def parsed(text: str) -> ast.Module:
    """Return the syntax tree; SyntaxError for whatever is no Python, however it offends the parser."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in another's text is not our news
            module = ast.parse(text)
    except (ValueError, RecursionError, MemoryError) as problem:
        raise SyntaxError(str(problem) or "nested too deep for the parser") from problem
    if len(text) > _SURELY_SHALLOW:
        _require_shallow(module)
    return module


def function_header(signature: str) -> ast.FunctionDef:
    """Return the syntax tree of `def name(…) -> …:`, which may lack its colon or end in dots; Refused when it is none.

    The reason does not repeat the text, for it ends in the ledger.
    """
    header = signature.strip().removesuffix("...").rstrip()
    try:
        body = parsed((header if header.endswith(":") else header + ":") + "\n    pass").body
    except SyntaxError as problem:
        raise Refused(f"the signature is no Python function header: {problem.msg}") from problem
    if not all(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in body):
        raise Refused("the signature is no Python function header")
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef) or body[0].decorator_list:
        raise Refused("the signature must be one `def name(…):` line, without decorator or async")
    return body[0]


def require_tests(tests: str) -> ast.Module:
    """Return the syntax tree of a requester's tests; Refused, with the line, when they are no Python."""
    try:
        return parsed(tests)
    except SyntaxError as problem:
        where = f" (line {problem.lineno})" if problem.lineno else ""
        raise Refused(f"the tests are no Python{where}: {problem.msg}") from problem


def definitions(code: str) -> list[ast.FunctionDef]:
    """Return the functions at the top level; [] of code that does not parse."""
    try:
        body = parsed(code).body
    except SyntaxError:
        return []
    return [node for node in body if isinstance(node, ast.FunctionDef)]


def last_definition(code: str) -> str | None:
    """Return the name of the last function at the top level; of code that does not parse, what reads like one."""
    names = [node.name for node in definitions(code)] or _READS_LIKE_A_DEFINITION.findall(code)
    return names[-1] if names and _NAME.fullmatch(names[-1]) else None


def _require_shallow(module: ast.Module) -> None:
    level: list[ast.AST] = [module]
    for _ in range(MAX_NESTING):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise SyntaxError(f"nested deeper than {MAX_NESTING} levels")
