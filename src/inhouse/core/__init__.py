"""Settings, errors, database, blobs, jobs, outbound HTTP, events and traces: what every room stands on."""
