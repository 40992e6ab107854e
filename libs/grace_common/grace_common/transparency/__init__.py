"""The formats by which strangers check the ledger: Merkle trees, tiles, notes, envelopes, proofs, receipts.

Pure: bytes in, bytes out. Signing takes a callable, reading a `TileReader`; no key, file, socket or clock lives here.
Why this room is in the library: docs/decisions/0001-transparency-formats-in-the-library.md.
"""
