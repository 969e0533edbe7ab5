"""What gateways count, as samples for the loops."""
