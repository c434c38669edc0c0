"""What somebody can send to hurt others, and what that costs them."""
