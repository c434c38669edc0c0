"""The command `synapse-withheld`, a file for each subcommand.

It may import every room; nothing imports it.
"""
