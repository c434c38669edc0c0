"""The life of a batch."""
