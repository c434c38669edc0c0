"""Synapse's own tests, with the module in every homeserver that they start."""
