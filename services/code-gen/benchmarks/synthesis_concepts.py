"""Measures how many concepts of the catalogue the synthesiser solves.

All examples of a concept are given, and it counts as solved
when a program is found; as unique when, besides, that program is found again with its last example withheld.

    python services/code-gen/benchmarks/synthesis_concepts.py [--cpu-seconds 20] [--only NAME]
"""

import argparse
import time
from dataclasses import replace

from grace_code_gen.domain.concepts import Concept, catalogue
from grace_code_gen.domain.synthesis import Program, Specification, default_weights, synthesise


def _first(spec: Specification, concept: Concept, cpu_seconds: float) -> Program | None:
    found = synthesise(
        spec, default_weights(), cpu_seconds=cpu_seconds, max_programs=1, clock=time.process_time, hints=concept.hints
    )
    return next(found, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu-seconds", type=float, default=20)
    parser.add_argument("--only", action="append", default=[])
    arguments = parser.parse_args()
    solved = unique = total = 0
    for concept in catalogue():
        if arguments.only and concept.name not in arguments.only:
            continue
        total += 1
        started = time.process_time()
        spec = concept.specification()
        program = _first(spec, concept, arguments.cpu_seconds)
        seconds = time.process_time() - started
        fewer = replace(spec, examples=spec.examples[:-1])
        again = _first(fewer, concept, arguments.cpu_seconds) if program else None
        solved += program is not None
        same = program is not None and again is not None and again.source == program.source
        unique += same
        body = program.source.strip().split('"""')[-1].strip().replace("\n", " ⏎ ") if program else "-"
        print(
            f"{concept.name:26} {'unique' if same else 'solved' if program else '-':7} {seconds:5.1f} s  {body[-110:]}",
            flush=True,
        )
    print(f"{solved} of {total} solved, {unique} with the same program when the last example is withheld")


if __name__ == "__main__":
    main()
