"""Documentation sites: the generator of a folder of pages, found by its configuration."""
