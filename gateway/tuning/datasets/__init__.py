"""Training files: what is wrong with them, what they cost, and how they are made, mended, parted and named."""
