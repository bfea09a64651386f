"""Built-in parsers, one file each."""
