"""Processes that tests start, the programs they need, and the command line."""
