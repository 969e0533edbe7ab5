"""`homeport schema`: the configuration language for editors. The file is made from the server's models, never by hand."""

from pathlib import Path

import typer

from homeport_cli.commands import verbs

app = verbs()
FILE = Path(__file__).parents[1] / "homeport.schema.json"


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of configuration files, for editors.

    Write it to a file once, and name that file in the first line of a configuration; editors that speak YAML's language
    server then complete its keys, show what they mean and mark what is wrong:

    \b
      # yaml-language-server: $schema=homeport.schema.json
      type: service
    """
    typer.echo(FILE.read_text(), nl=False)
