"""Pages for people, at the address of the server: fleet, services, logs, events, playground, by the token of a login."""
