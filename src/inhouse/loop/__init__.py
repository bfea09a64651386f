"""From feedback to the next model version, proven better and released gradually."""
