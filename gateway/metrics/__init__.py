"""Every Prometheus instrument, and the one function that updates them from a closed event."""
