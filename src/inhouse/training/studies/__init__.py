"""Studies: many runs that look for good settings together."""
