"""Every request to a model as a line in a file, and finding it again."""
