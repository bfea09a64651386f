"""What is known of a model version: its variants, how good it is and why it answers as it does."""
