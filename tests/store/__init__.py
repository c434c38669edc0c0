"""The statements on both databases."""
