"""Run the consensus, or `migrate` its schema; nothing else."""

from grace_common.runtime.service import main

from grace_consensus.main import build

main(build)
