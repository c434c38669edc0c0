"""What server admins see in a browser, and the JSON that it is made of."""
