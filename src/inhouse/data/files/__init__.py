"""Kinds of files that rows are read from and written to: one module each."""
