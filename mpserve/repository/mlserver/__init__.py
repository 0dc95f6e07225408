"""MLServer's settings files and the definition made of them."""
