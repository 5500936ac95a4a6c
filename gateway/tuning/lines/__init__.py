"""Model lines that are kept in the database: stable names over versions that never change, and what moved them."""
