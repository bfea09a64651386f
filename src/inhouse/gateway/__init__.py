"""One OpenAI-compatible door to every model, local and remote."""
