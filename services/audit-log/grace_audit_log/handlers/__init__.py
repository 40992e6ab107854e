"""The two loops of the ledger: what arrives is sealed, what is sealed is published.

A crash between any two steps is made good from the database at the next start.
"""
