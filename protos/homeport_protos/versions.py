"""The protocol number between agent, server and command line, with its diary.

One growing integer. Each bump adds a dated line that says what changed; a message is rather added than changed.
Both sides say their number in the first message; the server refuses an agent below MIN_AGENT_PROTOCOL in words.

Diary
-----
1  2026-11-23  first: join, session, reports, assignments, logs; the API of apply, ps, stop, logs, fleet list, tokens.
"""

PROTOCOL = 1
MIN_AGENT_PROTOCOL = 1
MIN_CLI_PROTOCOL = 1
