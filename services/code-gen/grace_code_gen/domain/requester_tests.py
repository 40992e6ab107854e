"""The requester's tests as numbered steps: each assert gets its own verdict, so that one failure hides no other."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grace_common.contract.errors import Refused
from grace_common.contract.python_source import require_tests

MAX_STEPS: Final = 60
STEP: Final = "__grace_step__"  # with STEP(n): assert …   (the sandbox's runner gives the name its meaning)
CALL_CHECK: Final = "check"


@dataclass(frozen=True, slots=True)
class Suite:
    """Tests ready to run.

    source  Python whose asserts are wrapped as steps, ending in calls of `check` and of the `test_…` functions
    labels  the text of each step's assert; step n has labels[n]
    """

    source: str
    labels: tuple[str, ...]


def suite(tests: str) -> Suite:
    """Return the steps of the requester's tests; Refused when the text is no Python or has more than MAX_STEPS asserts.

    A text without a single assert is one step: it passes when it runs to its end without an exception.
    """
    wrap = _WrapAsserts()
    module = wrap.visit(require_tests(tests))
    module.body.extend(_calls(module.body))
    labels = wrap.labels
    if not labels:
        labels = ["the tests run to their end"]
        future = [node for node in module.body if _is_future_import(node)]
        rest = [node for node in module.body if not _is_future_import(node)]
        module.body = [*future, _step(0, rest or [ast.Pass()])]
    if len(labels) > MAX_STEPS:
        raise Refused(f"the tests have {len(labels)} asserts; at most {MAX_STEPS} are run")
    return Suite(ast.unparse(ast.fix_missing_locations(module)), tuple(labels))


class _WrapAsserts(ast.NodeTransformer):
    def __init__(self) -> None:
        self.labels: list[str] = []

    def visit_Assert(self, node: ast.Assert) -> ast.With:
        self.labels.append(ast.unparse(node.test))
        return _step(len(self.labels) - 1, [node])


def _step(number: int, body: list[ast.stmt]) -> ast.With:
    call = ast.Call(ast.Name(STEP, ast.Load()), [ast.Constant(number)], [])
    return ast.With([ast.withitem(call)], body)


def _calls(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Return calls of `check(candidate)` and of each `test_…` function without parameters, unless the text has them."""
    called = {
        node.value.func.id
        for node in body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name)
    }
    calls: list[ast.stmt] = []
    for node in body:
        if not isinstance(node, ast.FunctionDef) or node.name in called:
            continue
        parameters = len(node.args.args) + len(node.args.posonlyargs)
        if node.name == CALL_CHECK and parameters == 1:
            calls.append(ast.parse(f"{CALL_CHECK}(candidate)").body[0])
        elif node.name.startswith("test") and parameters == 0:
            calls.append(ast.parse(f"{node.name}()").body[0])
    return calls


def _is_future_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"
