"""Whether every member declares what it imports: in the one environment of development an undeclared import passes.

A member's image installs the member alone. So each import of its package must come from the standard library, from its
own declared dependencies, or from what `grace-common` declares where the member depends on it. Tests and tools are no
part of an image, and `grace_common.testing` and `grace_cli.testing` run in development only.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LIBRARY = "grace-common"
DEVELOPMENT_ONLY = "testing"


@dataclass(frozen=True)
class Member:
    """A member of the workspace: a folder with a pyproject and one package."""

    folder: Path

    @cached_property
    def project(self) -> Mapping[str, Any]:
        project: Mapping[str, Any] = tomllib.loads((self.folder / "pyproject.toml").read_text())["project"]
        return project

    @property
    def name(self) -> str:
        return normal(self.project["name"])

    @property
    def package(self) -> str:
        return self.name.replace("-", "_")

    @property
    def declared(self) -> set[str]:
        """The distributions it declares."""
        return {requirement(one) for one in self.project.get("dependencies", ())}

    def imports(self) -> Iterator[tuple[Path, str]]:
        """Yield each import of its package: the file, and the dotted name."""
        package = self.folder / self.package
        for file in sorted(package.rglob("*.py")):
            if file.relative_to(package).parts[0] == DEVELOPMENT_ONLY:
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    yield from ((file, alias.name) for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    yield file, node.module


def normal(name: str) -> str:
    """Return a distribution's name as packaging compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement(text: str) -> str:
    """Return the distribution that a requirement names: `sqlalchemy[asyncio]>=2` is `sqlalchemy`."""
    found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", text)
    if found is None:
        raise ValueError(f"{text!r} is no requirement")
    return normal(found[0])


def members(root: Path = ROOT) -> list[Member]:
    """Return every member of the workspace."""
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
    return [Member(path.parent) for pattern in patterns for path in sorted(root.glob(f"{pattern}/pyproject.toml"))]


def undeclared(member: Member, library: Member, providers: Mapping[str, list[str]]) -> list[str]:
    """Return what a member imports without declaring it, a line for each module that says where it is first imported.

    providers  distributions by top-level module, as `packages_distributions()` has them
    """
    allowed = {member.name, *member.declared}
    if library.name in member.declared:
        allowed |= library.declared
    problems: dict[str, str] = {}
    for file, name in member.imports():
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top in problems:
            continue
        given = {normal(distribution) for distribution in providers.get(top, ())}
        if not given & allowed:
            whose = f"of {' or '.join(sorted(given))}" if given else "of no installed distribution"
            place = file.relative_to(member.folder)
            problems[top] = f"{member.name}: {place} imports {top} ({whose}), which its pyproject.toml does not declare"
    return list(problems.values())


def main() -> int:
    found = members()
    library = next(member for member in found if member.name == LIBRARY)
    # Members are installed editable, and tell nobody which modules they have.
    providers = {**packages_distributions(), **{member.package: [member.name] for member in found}}
    problems = [line for member in found for line in undeclared(member, library, providers)]
    print("\n".join(problems) if problems else f"{len(found)} members declare what they import")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
