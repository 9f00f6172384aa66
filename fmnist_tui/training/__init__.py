"""The one shared trainer. Importing this package, or `training.schedule`, does not import torch."""
