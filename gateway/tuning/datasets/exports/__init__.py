"""One file for each form that exchanges are read from."""
