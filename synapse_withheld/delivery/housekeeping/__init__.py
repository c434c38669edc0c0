"""What is done in the background: learn mailboxes, delete what is redundant."""
