"""How a task proceeds, as pure functions: the same history gives the same decisions byte for byte."""
