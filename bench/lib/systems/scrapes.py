"""A client that asks for a page again and again, at a fixed rate. A program of its own: it runs on the clients' core.

It prints a dot for each page that it got whole, until it is stopped.
"""

from __future__ import annotations

import sys
import time
from urllib.request import urlopen


def main() -> None:
    url, per_second = sys.argv[1], float(sys.argv[2])
    due = time.monotonic()
    while True:
        with urlopen(url, timeout=10) as answer:
            answer.read()
        print(end=".", flush=True)
        due += 1 / per_second
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()
