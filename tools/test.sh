#!/usr/bin/env bash
# Every test, with coverage of this process and of every process that it starts; below 90 % of lines is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python

if ! command -v go >/dev/null; then
  echo "the interoperability tests need Go (a foreign client must accept our log): install Go 1.24 or newer" >&2
  exit 1
fi
rm -f .coverage .coverage.*
export COVERAGE_ROOT="$PWD" COVERAGE_PROCESS_START="$PWD/pyproject.toml" COVERAGE_FILE="$PWD/.coverage"
# Ends with this shell, as the servers that it starts end with it: nothing goes on running after an interruption.
$python -I -S cli/grace_cli/stack/lifeline.py $$ "$(kill -l TERM)" -1 -1 \
  $python -m coverage run -m pytest -n 2 --dist loadscope --no-loadscope-reorder "$@"
$python -m coverage combine -q
$python -m coverage report --skip-covered --skip-empty --fail-under=90 | tail -40
