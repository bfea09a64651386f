"""Executors, one file each: where runs are trained."""
