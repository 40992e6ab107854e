"""Recognising the same program written twice: one digest for texts that differ in names, comments and layout only."""

import ast
import hashlib


class _Canonical(ast.NodeTransformer):
    """Numbers the names that a function binds, in order of appearance, and drops docstrings and annotations."""

    def __init__(self, bound: frozenset[str]) -> None:
        self._bound = bound
        self._numbers: dict[str, str] = {}

    def _name(self, name: str) -> str:
        return self._numbers.setdefault(name, f"v{len(self._numbers)}") if name in self._bound else name

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(id=self._name(node.id), ctx=node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(arg=self._name(node.arg), annotation=None)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        documented = ast.get_docstring(node, clean=False) is not None
        node.body = node.body[1:] if documented and len(node.body) > 1 else node.body
        return self.generic_visit(node)


def of_source(source: str) -> str:
    """Return a SHA-256 hex digest of Python source up to bound names, comments, annotations and layout.

    Source that does not parse is told apart by its text without blank space alone.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return hashlib.sha256("".join(source.split()).encode(errors="replace")).hexdigest()
    bound = frozenset(
        node.arg if isinstance(node, ast.arg) else node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.arg) or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    )
    text = ast.dump(_Canonical(bound).visit(tree), annotate_fields=False)
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
