"""What `fmnist-tui bench` measures, in a process of its own: `python -m fmnist_tui.training.bench`."""
