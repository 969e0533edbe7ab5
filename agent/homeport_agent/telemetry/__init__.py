"""How the host and its GPUs are from second to second: whose the processes are, what is worth sending, what peaked."""
