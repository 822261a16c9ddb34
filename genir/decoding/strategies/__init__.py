"""Search strategies beyond one beam search per query: one file each."""
