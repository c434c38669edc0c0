"""A random life of many people, on stock Synapse and with the module."""
