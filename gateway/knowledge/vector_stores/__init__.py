"""Vector stores: collections that callers make over the API, and files put into them."""
