"""The fused operation relu(batch_norm(x) + residual): definition, operator, launches, kernels, traffic."""
