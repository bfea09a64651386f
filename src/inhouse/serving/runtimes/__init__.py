"""The runtimes that come with the platform."""
