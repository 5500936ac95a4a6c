"""What measures the gateway, side by side with its limit and its rival. See bench/README.md."""
