"""The HTTP server: joins every room and is the only place that knows everyone."""
