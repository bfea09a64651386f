"""Formats of tools and trainers: one module each."""
