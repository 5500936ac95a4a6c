"""What a decision leads to: one file per path, one function each."""
