"""Generative retrieval: models that answer a query with document identifiers."""

__version__ = "0.1.0"
