"""Identifier schemes, the table of valid identifiers, and the report on their quality."""
