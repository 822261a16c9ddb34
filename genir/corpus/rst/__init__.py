"""reStructuredText of documentation sites: docutils with the directives and roles of Sphinx."""
