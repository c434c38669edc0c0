"""What the tests play and wait with."""
