"""Models that emit identifiers."""
