"""Markdown of documentation sites: rendering, block extensions, templates and includes."""
