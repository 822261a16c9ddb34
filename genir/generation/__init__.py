"""Queries made up for documents: who writes them, and the file they are written to."""
