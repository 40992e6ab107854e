"""Fixtures that every member's tests may use."""

pytest_plugins = ["grace_cli.testing.stack", "grace_cli.testing.deployment"]
