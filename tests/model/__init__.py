"""The module against a reference model, on a homeserver made of one database."""
