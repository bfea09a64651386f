"""What serving and training know of language models alike: their tokens, and how conversations become text."""
