"""What callers said of answers they got."""
