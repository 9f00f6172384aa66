"""fmnist-tui: a terminal training manager for Fashion-MNIST classifiers."""

__version__ = "0.1.0"
