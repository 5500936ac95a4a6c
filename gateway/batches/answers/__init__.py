"""What the lines of batches were answered, each written once."""
