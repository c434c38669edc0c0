"""Anything that a client or a server can put into a to-device message."""
