"""Datasets and labels."""
