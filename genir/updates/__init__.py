"""A corpus that changes: additions and deletions, written down before they are acknowledged."""
