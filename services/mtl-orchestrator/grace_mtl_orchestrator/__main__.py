"""Run the mtl-orchestrator, or `migrate` its schema; nothing else."""

from grace_common.runtime.service import main

from grace_mtl_orchestrator.main import build

main(build)
