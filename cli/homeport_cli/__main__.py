"""`python -P -m homeport_cli` is `homeport`."""

from homeport_cli.main import main

main()
