"""The recipes that come with the platform, one file each."""
