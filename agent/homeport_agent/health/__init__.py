"""Health: what is wrong with this host's GPUs, and when it is over.

`judge` decides (with its parts `signs`, `hosts`, `flaps`, and the table `xids`), all pure: a Memory, a look and the time
in, a Memory out. `room` does: it is fed samples and XIDs, keeps the memory on disk (`memory`), lets `check` prove a GPU by
a process of its own (`cuda_check`). Does not cover how a GPU is sampled (gpus) nor what the server makes of a finding.
"""
