"""What the server tells about itself: the structured log."""
