"""Other versions of Synapse: what differs there, and whether the tests pass."""
