"""Vocabulary of the field: names, versions, tensors, configuration, states. Shapes only."""
