"""The fused operation relu(batch_norm(x) + residual): definition, operator, launches, Triton kernels, traffic."""
