"""Speed of decoding against transformers, latency of single queries, precisions."""
