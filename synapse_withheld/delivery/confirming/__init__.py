"""Believed duplicates that wait until the database confirms them."""
