"""The page's table of phases is drawn from the code: `python -P tests/unit/agent/test_readme.py` writes it anew."""

from pathlib import Path

from homeport_agent.model import Phase
from homeport_agent.transitions import TABLE

PAGE = Path(__file__).parents[3] / "agent" / "README.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"


def drawn() -> str:
    """The diagram, then one row per phase: the phases that it may lead to, with the events that lead there."""
    arrows = [
        f"    {phase} --> {to}"
        for phase in Phase
        for to in Phase
        if to is not phase and any(start is phase and to in rule.to for (start, _), rule in TABLE.items())
    ]
    diagram = ["```mermaid", "stateDiagram-v2", "    [*] --> waiting", *arrows, "    stopped --> [*]", "```", ""]
    rows = ["| phase | leads to | by |", "|---|---|---|"]
    for phase in Phase:
        ways: dict[Phase, list[str]] = {}
        stays = []
        for (start, event), rule in TABLE.items():
            if start is not phase:
                continue
            onward = [to for to in rule.to if to is not phase]
            for to in onward:
                ways.setdefault(to, []).append(event.__name__)
            if not onward:
                stays.append(event.__name__)
        rows += [f"| {phase} | {to} | {', '.join(ways[to])} |" for to in Phase if to in ways]
        if stays:
            rows.append(f"| {phase} | (stays) | {', '.join(stays)} |")
    return "\n".join(diagram + rows) + "\n"


def with_table(text: str) -> str:
    return text[: text.index(BEGIN) + len(BEGIN)] + drawn() + text[text.index(END) :]


def test_the_page_shows_the_table_of_the_code() -> None:
    text = PAGE.read_text()
    assert text == with_table(text), "run: python -P tests/unit/agent/test_readme.py"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
