"""One file per figure: its name is the name on the command line, `FIGURE` is what runs."""
