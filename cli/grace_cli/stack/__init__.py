"""The local stack: real Kafka and PostgreSQL without Docker, and a supervisor that keeps the services running."""
