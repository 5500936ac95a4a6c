"""/admin: the REST twin of the command line. One file per noun; who may use what stands in `http/access.py`."""
