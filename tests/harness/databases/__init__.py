"""Servers that Synapse keeps its data in, and what is in its tables."""
