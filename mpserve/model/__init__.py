"""Vocabulary of the field: names, tensors, configurations, states; shapes and rules on them."""
