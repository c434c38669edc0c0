"""The life of a batch of messages, from when Synapse hands it over.

It imports `memory`, `database`, `operators` and `rules`.
"""
