"""What the consensus decides, as pure functions: values in, values out, so that a verdict replays from the ledger."""
