"""A browser, and the page of server admins without a Synapse behind it."""
