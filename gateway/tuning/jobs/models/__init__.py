"""Models that jobs made, and who may call them."""
