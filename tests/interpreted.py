"""Select Triton's interpreter if there is no GPU. Import this before Triton."""

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
