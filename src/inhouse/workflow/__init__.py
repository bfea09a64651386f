"""Graphs of nodes, compiled once and run asynchronously."""
