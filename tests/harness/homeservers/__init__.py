"""Synapses that can be started, and what other servers and bridges are to them."""
