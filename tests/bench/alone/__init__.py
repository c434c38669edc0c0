"""The module's own code, on mailboxes in memory instead of a Synapse."""
