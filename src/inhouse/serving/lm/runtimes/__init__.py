"""Ways to run a language model directory. One file, one runtime; each imports its engine only when it loads."""
