"""The typed Python SDK over the HTTP API."""
