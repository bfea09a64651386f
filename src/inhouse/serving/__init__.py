"""Models in memory, batched and swapped without a dropped answer."""
