"""The command line: files in, tables out. It reads YAML and shows answers; the server alone knows the language."""
