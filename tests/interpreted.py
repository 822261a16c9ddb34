"""Has Triton interpret its kernels where there is no GPU. To be imported before Triton is."""

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
