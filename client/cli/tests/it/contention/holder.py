"""Holds the lock with the client for Python, and runs the command that writes: holder.py ADDRESS FILE NUMBER SCRIPT"""

import os
import subprocess
import sys

import soloist

address, file, number, script = sys.argv[1:]
try:
    with soloist.connect(address, timeout=60) as client, client.lock("l", ttl=2) as lock:
        environment = dict(os.environ, SOLOIST_LOCK_TOKEN=str(lock.token))
        code = subprocess.run(["sh", "-c", script, "sh", file, number], env=environment).returncode
except soloist.SessionLost:
    code = 75
sys.exit(code)
