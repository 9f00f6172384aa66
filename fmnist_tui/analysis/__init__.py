"""What a run's predictions tell: mistakes, scores by class, comparisons. NumPy only; reads, never writes."""
