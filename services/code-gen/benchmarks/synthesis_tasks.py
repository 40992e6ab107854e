"""Measures the synthesiser on a file of tasks: which are solved by the first program, which by any of the programs.

A task's `check` is read here only, after the programs are there; the synthesiser never sees it.

    python services/code-gen/benchmarks/synthesis_tasks.py TASKS.json [--cpu-seconds 20] [--only NAME] [--show]
"""

import argparse
import json
import multiprocessing
import resource
import signal
import time
from pathlib import Path
from typing import Any

from grace_code_gen.domain.synthesis import Example, Specification, default_weights, synthesise

_CHECK_SECONDS = 2


def _specification(task: dict[str, Any]) -> Specification:
    return Specification(
        entry_point=task["entry_point"],
        signature=task["signature"],
        requirements=task["requirements"],
        examples=tuple(Example(tuple(example["args"]), example["expected"]) for example in task["examples"]),
    )


def _passes(source: str, task: dict[str, Any]) -> bool:
    """Run the task's check on a program, for two seconds of CPU time at most."""
    namespace: dict[str, Any] = {}
    signal.signal(signal.SIGVTALRM, _give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, _CHECK_SECONDS)
    try:
        exec(source, namespace)
        exec(task["check"], namespace)
        namespace["check"](namespace[task["entry_point"]])
    except Exception:  # noqa: BLE001 - whatever a wrong program raises, it is wrong
        return False
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return True


def _give_up(number: int, frame: object) -> None:
    raise TimeoutError


def _keeps_examples(source: str, task: dict[str, Any]) -> bool:
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    function = namespace[task["entry_point"]]

    def plain(value: Any) -> Any:
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    return all(plain(function(*json.loads(json.dumps(e["args"])))) == plain(e["expected"]) for e in task["examples"])


def _measure(task: dict[str, Any], cpu_seconds: float, pipe: Any) -> None:
    started = time.process_time()
    programs = list(
        synthesise(_specification(task), default_weights(), cpu_seconds=cpu_seconds, clock=time.process_time)
    )
    seconds = time.process_time() - started
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send(
        {
            "seconds": seconds,
            "megabytes": megabytes,
            "sources": [program.source for program in programs],
            "costs": [program.cost for program in programs],
            "solved": [_passes(program.source, task) for program in programs],
            "broken": [program.source for program in programs if not _keeps_examples(program.source, task)],
        }
    )


def measure(task: dict[str, Any], cpu_seconds: float) -> dict[str, Any]:
    """Synthesise for one task and check the programs, in a process of its own."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=_measure, args=(task, cpu_seconds, there))
    process.start()
    there.close()
    try:
        answer: dict[str, Any] = here.recv()
    except EOFError:
        answer = {"seconds": 0, "megabytes": 0, "sources": [], "costs": [], "solved": [], "broken": ["died"]}
    process.join()
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", type=Path)
    parser.add_argument("--cpu-seconds", type=float, default=20)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--show", action="store_true")
    arguments = parser.parse_args()
    tasks = json.loads(arguments.tasks.read_text(encoding="utf-8"))["tasks"]
    first = anyone = 0
    total = 0.0
    for task in tasks:
        if arguments.only and task["entry_point"] not in arguments.only:
            continue
        answer = measure(task, arguments.cpu_seconds)
        solved = answer["solved"]
        first += bool(solved and solved[0])
        anyone += any(solved)
        total += answer["seconds"]
        verdict = "FIRST" if solved and solved[0] else f"any@{solved.index(True)}" if any(solved) else "-"
        best = answer["sources"][0].strip().split("\n")[-1].strip() if solved else ""
        print(
            f"{task['entry_point']:24} {verdict:6} {len(solved)} programs  {answer['seconds']:5.1f} s "
            f"{answer['megabytes']:5.0f} MB  {answer['costs'][:1]} {best[:90]}",
            flush=True,
        )
        if answer["broken"]:
            print("   BREAKS AN EXAMPLE:", *answer["broken"], sep="\n")
        if arguments.show:
            print(
                *(
                    f"[{cost}] {ok}\n{source}"
                    for cost, ok, source in zip(answer["costs"], solved, answer["sources"], strict=True)
                ),
                sep="\n",
            )
    print(f"first program {first}, any program {anyone}, {total:.0f} CPU-seconds")


if __name__ == "__main__":
    main()
