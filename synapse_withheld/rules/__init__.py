"""The rules: which messages go stale while they wait, a file for each kind."""
