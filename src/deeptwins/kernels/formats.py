"""Data types and memory layouts by name, as studies, records, pages and benches write them."""

from __future__ import annotations

import torch

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
"""What the kernels are compiled for."""
PRECISIONS = {"tf32": torch.float32, "fp32": torch.float32, "bf16": torch.bfloat16}
"""The data type of activations by a recipe's precision. TF32 rounds the factors of products, and stores fp32."""
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
