"""Verifying a whole log: in chunks, in several processes, each result taken in the log's order."""
