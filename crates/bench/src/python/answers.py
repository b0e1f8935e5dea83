"""How every script of ours answers: it stands in front of each, and gives it `os`, `sys` and `answer`."""
import os
import sys

# Libraries print where they like; the answers have the real stdout for themselves.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def answer(text):
    print(" ".join(str(text).split()), file=answers, flush=True)


