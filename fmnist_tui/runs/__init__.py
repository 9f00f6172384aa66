"""A run on disk and as a process: the only interface between the trainer and everything that watches it."""
