"""The plain objects that hold what is remembered: mailboxes, senders, rows, bounds."""
