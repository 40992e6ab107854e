"""An import that a member does not declare is found, wherever its distribution comes from."""

from pathlib import Path

import pytest

from tools.dependencies import Member, main, members, normal, requirement, undeclared

PROVIDERS = {"yaml": ["PyYAML"], "orjson": ["orjson"], "grace_common": ["grace-common"], "starlette": ["starlette"]}


def member(folder: Path, name: str, source: str, *dependencies: str) -> Member:
    package = folder / name / normal(name).replace("-", "_")
    (package / "testing").mkdir(parents=True)
    (package / "main.py").write_text(source)
    (package / "testing" / "fakes.py").write_text("import pytest\n")
    (folder / name / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\ndependencies = {list(dependencies)!r}\n'
    )
    return Member(folder / name)


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("import os, sys\nfrom pathlib import Path\n", None),
        ("from grace_kettle.domain import heat\nfrom . import other\n", None),
        ("import yaml\n", None),
        ("import orjson\n", None),
        ("from grace_common.contract import topics\n", None),
        ("from starlette.responses import Response\n", "main.py imports starlette (of starlette)"),
        ("def late():\n    import starlette\n", "main.py imports starlette (of starlette)"),
        ("import unheard.of\n", "main.py imports unheard (of no installed distribution)"),
    ],
)
def test_each_import_needs_a_declared_distribution(tmp_path: Path, source: str, missing: str | None) -> None:
    library = member(tmp_path, "grace-common", "", "orjson>=3")
    kettle = member(tmp_path, "grace-kettle", source, "grace-common", "PyYAML>=6")

    found = undeclared(kettle, library, PROVIDERS | {"grace_kettle": ["grace-kettle"]})

    assert len(found) == (missing is not None)
    assert missing is None or missing in found[0]


def test_what_the_library_declares_serves_only_those_that_depend_on_it(tmp_path: Path) -> None:
    library = member(tmp_path, "grace-common", "", "orjson>=3")
    kettle = member(tmp_path, "grace-kettle", "import orjson\n")

    assert undeclared(kettle, library, PROVIDERS)


@pytest.mark.parametrize(
    ("text", "name"), [("sqlalchemy[asyncio]>=2", "sqlalchemy"), ("Pydantic_Core", "pydantic-core"), ("ruff", "ruff")]
)
def test_a_requirement_names_a_distribution(text: str, name: str) -> None:
    assert requirement(text) == name


def test_what_names_nothing_is_no_requirement() -> None:
    with pytest.raises(ValueError, match="no requirement"):
        requirement(">=2")


def test_every_member_of_this_workspace_declares_what_it_imports() -> None:
    assert len(members()) >= 8
    assert main() == 0
