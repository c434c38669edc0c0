"""The command line: `synapse-withheld`."""
