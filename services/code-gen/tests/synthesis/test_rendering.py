"""How a solution reads as a function."""

import time

from grace_code_gen.domain.synthesis import Example, Program, Specification, default_weights, synthesise

FIBONACCI = (Example((0,), 0), Example((1,), 1), Example((7,), 13), Example((10,), 55))


def programs(signature: str, entry_point: str) -> list[Program]:
    spec = Specification(entry_point, signature, "Calculate fibonacci", FIBONACCI)
    return list(synthesise(spec, default_weights(), cpu_seconds=10, max_programs=3, clock=time.process_time))


def test_a_function_that_only_calls_an_inner_one_takes_its_body() -> None:
    source = programs("def fib(n: int) -> int:", "fib")[0].source

    assert "for _ in range(n):" in source
    assert source.count("def ") == 1


def test_an_inner_function_never_carries_the_name_of_the_one_around_it() -> None:
    for program in programs("def fibonacci(n: int) -> int:", "fibonacci"):
        assert program.source.count("def fibonacci(") == 1
