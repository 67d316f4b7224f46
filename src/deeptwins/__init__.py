"""A benchmark and ablation harness for the degradation problem of deep networks."""

__version__ = "0.1.0"
