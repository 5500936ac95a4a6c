"""The process that trains and the one that serves what was trained: `python -m gateway.tuning.worker`.

A job is a folder, see `folder.py`; whoever wants to know how it stands reads that. Only the files that `train` and
`serve` start from import torch: the gateway itself never does.
"""
