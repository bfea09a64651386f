"""Documents in, passages with page numbers out."""
