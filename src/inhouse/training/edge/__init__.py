"""What a model needs to run on a small machine: it goes into the bundle as it is, and measures variants here."""
