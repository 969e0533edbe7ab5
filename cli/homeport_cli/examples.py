"""Lines to copy, one block per command, shown at the end of its `--help` and in the reference of the command line.

Here and not beside the commands, so that they are written in one voice. Each line is checked by tests/house: it parses.
"""

from typing import Any

EXAMPLES = {
    "apply": (
        ("homeport apply", "the one configuration file of this folder"),
        ("homeport apply -f web.homeport.yml --plan", "what would happen, and where it could run"),
        ("homeport apply --plan --json", "the same for a program"),
        ("homeport apply -f lab.homeport.yml", "a fleet: its hosts are installed over SSH, all at once"),
        ("homeport apply -y -d -e HF_TOKEN", "no question, no waiting; a value of the environment"),
    ),
    "bundle": (
        ("homeport bundle", "homeport-bundle.tar.gz, for hosts with Python 3.11, 3.12 or 3.13"),
        ("homeport bundle -o arm.tar.gz --arch aarch64 --python 3.12", "for others"),
    ),
    "ps": (
        ("homeport ps", "what runs"),
        ("homeport ps -a", "finished runs too"),
        ("homeport ps -w -v", "a row for each replica, again after each change"),
    ),
    "logs": (
        ("homeport logs web", "all that is kept"),
        ("homeport logs web -f --since 5m", "the last five minutes, then as it is written"),
        ("homeport logs web --replica 1 --tail 20 --timestamps", "the last lines of one replica"),
        ("homeport logs web --replica 0 -p", "of the one whose place replica 0 took"),
        ("homeport logs web --access -f", "each request: who, which replica, status, tokens, times"),
    ),
    "rollback": (
        ("homeport rollback web", "to the revision before; asks first, and waits until it serves"),
        ("homeport rollback web -y -d", "no question, no waiting; once more goes one further back"),
    ),
    "usage": (
        ("homeport usage --since 1d", "by token, service and model"),
        ("homeport usage --by user,day --json", "for a program that writes bills"),
    ),
    "attach": (
        ("homeport attach web", "until it ends; the exit code says how"),
        ("homeport attach web --tail 0", "only what is written from now on"),
    ),
    "metrics": (
        ("homeport metrics web", "cores, memory, GPUs, requests per second"),
        ("homeport metrics web -w", "again every two seconds"),
        ("homeport metrics web -w --json", "an object per line, for a program"),
    ),
    "stop": (
        ("homeport stop web", "drain, then stop, and wait for it"),
        ("homeport stop web api -y -d", "two runs; no question, no waiting"),
        ("homeport stop web -x", "at once"),
    ),
    "delete": (("homeport delete -f web.homeport.yml", "stop the service of this file"),),
    "event": (
        ("homeport event --run web --since 1h", "what happened to a run and its replicas"),
        ("homeport event -w", "go on as it happens"),
        ("homeport event --cause 3f0c9a6be21d", "all that followed from one thing"),
    ),
    "fleet list": (("homeport fleet list", "each host with its GPUs and its health"),),
    "fleet get": (
        ("homeport fleet get gpu-1", "its facts, its GPUs, what runs on it"),
        ("homeport fleet get gpu-1 --json", "for a program"),
    ),
    "fleet delete": (
        ("homeport fleet delete gpu-1", "its replicas move first"),
        ("homeport fleet delete gpu-1 --force -y", "a host that is dead"),
    ),
    "fleet upgrade": (
        ("homeport fleet upgrade", "all agents that are not the server's build"),
        ("homeport fleet upgrade gpu-1 gpu-2", "these, also after a failure"),
    ),
    "fleet join-command": (
        ("homeport fleet join-command", "a line to run on the new host"),
        ("homeport fleet join-command lab --ttl 1d --one-use", "for one host of the fleet `lab`, within a day"),
    ),
    "top": (
        ("homeport top", "all hosts, what is worst first"),
        ("homeport top gpu-1 gpu-2", "two of them"),
        ("homeport top --fleet lab --json", "an object per line, for a program"),
    ),
    "gateway list": (("homeport gateway list", "with the address that a service gets there"),),
    "gateway get": (("homeport gateway get main", "its host, where it listens, what it publishes"),),
    "gateway delete": (("homeport gateway delete main", "when nothing is published by it any more"),),
    "gateway ca": (("homeport gateway ca main > ca.pem", "then: curl --cacert ca.pem https://…"),),
    "gateway set-default": (("homeport gateway set-default main", "for services that name no gateway"),),
    "offer": (
        ("homeport offer --gpu 24GB:2", "two GPUs with 24 GB each"),
        ("homeport offer gpu=24GB:2 memory=64GB..", "the same in words"),
        ("homeport offer --cpu 8.. --memory 32GB.. --fleet lab", "a larger host of one fleet"),
        ("homeport offer --gpu A100,H100 --json", "for a program"),
    ),
    "image build": (
        ("sudo homeport image build", "Python 3.11, for services without GPUs"),
        ("sudo homeport image build --python 3.12 --variant cuda", "for services with GPUs"),
        ("homeport image build --from-registry --variant nvcc", "by the Dockerfile, where Docker Hub is reachable"),
        ("homeport image build --python 3.13 --dry-run", "the commands that would run"),
    ),
    "fleet drain": (
        ("homeport fleet drain gpu-1", "its replicas move, each when another serves in its place"),
        ("homeport fleet drain gpu-1 --gpu GPU-3f2a -y", "only one of its GPUs"),
    ),
    "fleet undrain": (
        ("homeport fleet undrain gpu-1", "it gets replicas again"),
        ("homeport fleet undrain gpu-1 --gpu GPU-3f2a", "also: what was found wrong with that GPU is looked at anew"),
    ),
    "login": (
        ("homeport login --server 10.0.0.5", "asks whether to trust its CA, then for the token"),
        ("homeport login --server box:7400 --token - --ca-hash HASH", "the token on standard input, no question"),
    ),
    "token create": (
        ("homeport token create ci --role user --ttl 30d", "for a script that applies files"),
        ("homeport token create chat-app --role service --service llm", "may call the service `llm` and nothing else"),
    ),
    "user create": (
        ("homeport user create ann", "prints her first token"),
        ("homeport user create ben --role admin --expires 30d", "an admin, for 30 days"),
    ),
    "user list": (("homeport user list", "with their roles and how many tokens they have"),),
    "user delete": (("homeport user delete ann", "her tokens are revoked with her"),),
    "token list": (("homeport token list", "never the secrets themselves"),),
    "token revoke": (("homeport token revoke ci", "at once and for ever"),),
    "init": (
        ("homeport init", "in this folder"),
        ("homeport init my-app", "in a new one"),
    ),
    "schema": (("homeport schema > homeport.schema.json", "once; then name it in the first line of a file"),),
    "completion": (
        ("source <(homeport completion bash)", "for this shell"),
        ("homeport completion fish > ~/.config/fish/completions/homeport.fish", "for every fish to come"),
    ),
    "doctor": (
        ("homeport doctor", "a line for each thing, with what to do"),
        ("homeport doctor --host", "on a host: driver, GPUs in containers, Docker, disk, clock"),
        ("homeport doctor --json", "for a program"),
    ),
    "version": (("homeport version", "of this program; the server's: `homeport doctor`"),),
}


def show_examples(command: Any, path: str) -> None:
    """Put the examples under the help of a command and of all below it. `path` is how it is called: "token create"."""
    if lines := EXAMPLES.get(path):
        width = max(len(line) for line, _ in lines)
        text = "\n".join(f"  {line:{width}}  # {what}" for line, what in lines)
        command.epilog = f"\b\nExamples:\n{text}"
    for name, below in getattr(command, "commands", {}).items():
        show_examples(below, f"{path} {name}")
