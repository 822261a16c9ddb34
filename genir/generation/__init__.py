"""Query generation for documents: models and output files."""
