"""Own stepping through the decoders of the commonest families, on the weights as they are."""
