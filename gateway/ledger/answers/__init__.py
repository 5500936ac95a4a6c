"""What answers stood on, and what nothing answered, read from the books."""
