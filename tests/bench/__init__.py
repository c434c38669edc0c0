"""What the module costs and saves, beside stock Synapse in the same run."""
