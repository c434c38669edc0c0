"""The demonstration's parts, without a Synapse."""
