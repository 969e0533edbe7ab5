#!/usr/bin/env python3
"""Asks the model, prints its answer as it is written: `OPENAI_API_KEY=$TOKEN ./chat.py "What is a harbour?"`. Needs openai."""

import os
import sys

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("OPENAI_BASE_URL", "http://gateway.localhost:7480/v1"))
words = " ".join(sys.argv[1:]) or "What is a harbour? One sentence."
for part in client.chat.completions.create(
    model="smollm2", messages=[{"role": "user", "content": words}], max_tokens=64, stream=True
):
    if part.choices:
        print(part.choices[0].delta.content or "", end="", flush=True)
print()
