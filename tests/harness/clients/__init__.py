"""Devices that send and read to-device messages, and what they send."""
