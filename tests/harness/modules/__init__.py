"""Modules that tests load into Synapse beside ours, to get in its way."""
