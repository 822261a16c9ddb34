"""Beam search on CUDA: Triton kernels and captured graphs."""
