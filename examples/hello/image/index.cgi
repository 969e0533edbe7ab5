#!/bin/sh
# Answers `/`: httpd runs it when /www has no index.html.
printf 'Content-Type: text/plain\r\n\r\n'
printf 'Hello from Homeport: replica %s on %s\n' "${HOMEPORT_REPLICA:-none}" "${HOMEPORT_HOST:-$(hostname)}"
