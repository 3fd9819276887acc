"""Files of bars as people have them: found, recognised, and read block by block."""
