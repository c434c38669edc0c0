"""Draw the pictures of the documentation, from a real run."""
