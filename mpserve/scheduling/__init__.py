"""What a model's configuration means for its queue and its instances. Pure."""
