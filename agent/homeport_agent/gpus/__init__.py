"""GPUs: the port (base) and NVIDIA's management library behind it (nvml)."""
