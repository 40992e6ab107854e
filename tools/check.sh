#!/usr/bin/env bash
# Format, lint, types, boundaries, schemas: each says what it found, and the first that fails ends the check.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python

step() { printf '\033[1m%s\033[0m\n' "$1"; }

step "format";     $python -m ruff format --check -q .
step "lint";       $python -m ruff check -q .
step "types"
for member in libs/grace_common cli services/*; do
  package=$(cd "$member" && ls -d grace_*/ | head -1)
  $python -m mypy --no-error-summary "$member/${package%/}"
done
$python -m mypy --no-error-summary tools deploy
$python -m mypy --no-error-summary contrib/verify_receipt.py
step "boundaries"; $python -m tools.boundaries
step "imports";    $python -m tools.dependencies
step "schemas";    $python -m tools.schemas check
step "policies";   $python -m grace_mtl_orchestrator.adapters.policy_files
echo "all checks passed"
