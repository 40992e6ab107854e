"""What `make` runs: boundaries, schemas, benchmarks. Nothing here is part of a service."""
