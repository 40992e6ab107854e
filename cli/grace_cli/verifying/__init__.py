"""Verifying a whole log: in chunks, in several processes, each result taken in the log's order."""

import os
from typing import Final

CORES: Final = len(os.sched_getaffinity(0))
MOST_PROCESSES: Final = 64
