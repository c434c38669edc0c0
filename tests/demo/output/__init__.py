"""What those who watch a demonstration read."""
