"""Real Synapses on loopback: for the demonstration and for the tests."""
