"""A process that takes a lock again and again, and appends to a file that checks tokens: python -m tests.holder ..."""

import fcntl
import os
import sys

import soloist


def append(path: str, token: int) -> bool:
    """Appends the token, unless the file has seen a newer one: what a lock protects must do this much."""
    with open(path, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        newest = max((int(line.split()[0]) for line in file), default=0)
        if token < newest:
            return False
        file.write(f"{token} {os.getpid()}\n")
        return True


def main() -> None:
    address, path, turns = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with soloist.connect(address, timeout=60) as client:
        done = 0
        while done < turns:
            try:
                with client.lock("locks/file", ttl=1, value=str(os.getpid())) as lock:
                    if not append(path, lock.token):
                        print("refused", flush=True)
                        continue
                done += 1
                print("turn", flush=True)
            except soloist.SessionLost:
                print("lost", flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main()
