"""What the kernels are compiled to, for GPUs that are not there."""
