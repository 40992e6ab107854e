"""Policies from files: `*.toml`, each with name, version, description and CEL expressions.

`python -m grace_mtl_orchestrator.adapters.policy_files [FOLDER]` checks a folder (the package's own by default) and
prints what is in force; it ends with 1 and the reason when a policy cannot serve.
"""

import sys
import tomllib
from importlib.resources import files
from pathlib import Path

from grace_common.contract.envelope import explain
from grace_common.contract.errors import GraceError
from grace_common.contract.events.round import Policy
from pydantic import ValidationError

from grace_mtl_orchestrator.domain.policy import PolicyBroken, check, reference


def packaged() -> Path:
    """Return the folder of the policies that come with the service."""
    return Path(str(files("grace_mtl_orchestrator") / "policies"))


def load(folder: Path) -> tuple[Policy, ...]:
    """Return the folder's policies, checked, in the order of their file names.

    raises  PolicyBroken naming the file or the policy, and what is wrong with it
    """
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise PolicyBroken(f"{folder} holds no policy file (*.toml)")
    policies = tuple(_read(path) for path in paths)
    check(policies)
    return policies


def _read(path: Path) -> Policy:
    try:
        return Policy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PolicyBroken(f"{path} is no readable TOML file: {error}") from error
    except ValidationError as error:
        raise PolicyBroken(f"{path} is no policy: {explain(error)}") from error


def main(arguments: list[str]) -> int:
    """Check one folder and say what was found."""
    try:
        for policy in load(Path(arguments[0]) if arguments else packaged()):
            print(f"{reference(policy)}: {', '.join(policy.expressions)}")
    except GraceError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
