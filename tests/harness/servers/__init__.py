"""What tests start, and what they play for a Synapse that they started."""
