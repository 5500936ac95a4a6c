"""What was used and what it cost, for those who pay: reports, exports, and the provider's own count beside them."""
