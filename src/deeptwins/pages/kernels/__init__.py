"""The page of the fused kernels."""
