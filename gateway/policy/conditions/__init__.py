"""One file per condition. A new file here is a new key under `when`, with its schema, docs and trace."""
