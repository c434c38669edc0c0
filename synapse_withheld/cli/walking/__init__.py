"""Walk over a homeserver's database, show how far, and take it up again."""
