"""How a model of one kind is loaded and executed; one file each, found by name in `registry`."""
