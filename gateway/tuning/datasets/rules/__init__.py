"""One file for each family of lint codes; its `FAMILY` says the codes and starts the checks of one run."""
