"""The systems genir must beat, behind the same search() signature."""
