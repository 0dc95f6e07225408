"""One model instance: load it, then pull requests, execute and complete them."""
