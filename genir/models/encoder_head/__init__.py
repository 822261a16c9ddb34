"""Pre-trained encoder with a document head."""
