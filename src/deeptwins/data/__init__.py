"""Images: datasets, the files they come in, and the batches that nets see."""

from deeptwins.data.datasets import DATASETS, Dataset, Split, available, is_own, load, look

__all__ = ["DATASETS", "Dataset", "Split", "available", "is_own", "load", "look"]
