"""Python face of shared memory: segments, arenas, queues, rings, and their removal."""
