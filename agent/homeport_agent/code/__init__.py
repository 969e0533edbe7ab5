"""Code that is sent along with a service: fetched once, kept by content, laid in each container before it starts."""
