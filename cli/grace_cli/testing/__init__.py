"""What tests of all members use to reach a real Kafka and a real PostgreSQL."""
