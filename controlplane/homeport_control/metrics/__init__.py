"""What Prometheus scrapes: the fleet, services, gateways and the server itself, as numbers."""
