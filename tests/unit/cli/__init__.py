"""The command, without a Synapse."""
