"""Chat apps, conversations, messages and feedback."""
