"""Example-driven synthesis: the generator that needs no model, no key and no network."""

from .model import Example, Program, Specification
from .search import synthesise
from .weights import Weights, default_weights

__all__ = ["Example", "Program", "Specification", "Weights", "default_weights", "synthesise"]
