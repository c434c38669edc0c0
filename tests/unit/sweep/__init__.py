"""The walk over what is in the database already."""
