"""The first half hour of docs/operating.md, on a fresh Debian: a copy of this machine's files on which systemd is booted.

The commands are those of the manual, word for word. What the manual shows below a command must be in its output. Then what the
unit promises is tried: a reload, a restart under the socket, a kill, and damaged data.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from machinery import GRPCURL, ROOT, until

BOOT = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup", "--net"]


class Machine:
    """A booted copy of this machine."""

    def __init__(self, directory):
        self.boot = subprocess.Popen(
            [*BOOT, ROOT / "deploy/checks/boot", directory], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        children = Path(f"/proc/{self.boot.pid}/task/{self.boot.pid}/children")
        self.init = until("the machine has a first process", lambda: children.read_text().strip())
        until("systemd runs", lambda: self.run("systemctl is-active basic.target", check=False)[0] == 0)

    def run(self, line, check=True):
        """Runs a line of a shell in the machine. Returns its exit code and its output."""
        enter = ["nsenter", "--target", self.init, "--all", "--root"]
        result = subprocess.run(
            [*enter, "sh", "-c", f"cd /root && {line}"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        output = result.stdout + result.stderr
        if check and result.returncode:
            log = self.run("journalctl --no-pager -n 50", check=False)[1]
            raise AssertionError(f"$ {line}\n{output}exit code {result.returncode}\n{log}")
        return result.returncode, output

    def bring(self, file, path):
        """Copies a file into the machine."""
        target = Path(f"/proc/{self.init}/root") / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)

    def write(self, path, text):
        """Writes a file of the machine."""
        target = Path(f"/proc/{self.init}/root") / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def end(self):
        self.boot.kill()
        self.boot.wait()


def steps(manual):
    """The commands of the first half hour, each with the lines that the manual shows below it."""
    block = manual.split("<!-- half hour -->")[1].split("```")[1]
    for line in block.splitlines()[1:]:
        if line.startswith("$ "):
            command, _, shown = line[2:].partition("  #")
            quoted = re.search(r'"(.*)"', shown)
            yield command.strip(), quoted.group(1) if quoted else None
        elif line:
            yield None, line


def newcomer(machine):
    """Does what the manual says."""
    output = ""
    for command, expected in steps((ROOT / "docs/operating.md").read_text()):
        if command:
            print(f"$ {command}")
            output = machine.run(command)[1]
        if expected:
            assert expected in output, f"expected {expected!r} in:\n{output}"
    assert "hello" in output, output


def supervised(machine):
    """What the unit promises."""
    machine.run("systemd-analyze verify --man=no soloist.service soloist.socket soloist-backup.service soloist-backup.timer")
    # A reload fails if the configuration is wrong, and the server goes on.
    machine.run("systemctl reload soloist && cp /etc/soloist/soloist.toml /root/good.toml")
    machine.run("echo 'nonsense = 1' >>/etc/soloist/soloist.toml")
    assert machine.run("systemctl reload soloist", check=False)[0]
    machine.run("systemctl is-active soloist && cp /root/good.toml /etc/soloist/soloist.toml && systemctl reload soloist")
    machine.run("systemctl start soloist-backup")
    machine.run("test $(ls /var/backups/soloist/*.backup | wc -l) -eq 2")

    # systemd holds the port: a call that comes while no server runs waits for one.
    machine.run("systemctl stop soloist && systemctl start soloist.socket")
    assert machine.run("systemctl is-active soloist", check=False)[1].strip() == "inactive"
    read = """grpcurl -plaintext -d '{"key":"greeting"}' 127.0.0.1:50051 soloist.v1.State/Read"""
    assert "hello" in machine.run(read)[1]
    machine.run("systemctl is-active soloist")

    # A failure is followed by a start.
    machine.run("systemctl kill --signal=SIGKILL soloist")
    assert "hello" in machine.run(read)[1]

    # So is a silence.
    machine.write("/run/systemd/system/soloist.service.d/check.conf", "[Service]\nWatchdogSec=1\n")
    machine.run("systemctl daemon-reload && systemctl restart soloist")
    machine.run("systemctl kill --signal=SIGSTOP soloist")
    restarts = lambda: machine.run("systemctl show soloist --property=NRestarts,ActiveState")[1].split()
    until("the server is started again", lambda: set(restarts()) == {"NRestarts=1", "ActiveState=active"})

    # Damaged data is not: somebody must look.
    machine.run("systemctl stop soloist.socket soloist")
    machine.run("systemctl reset-failed soloist; rm /var/lib/soloist/watermark")
    assert machine.run("systemctl start soloist", check=False)[0]
    shown = "systemctl show soloist --property=ExecMainStatus,NRestarts,ActiveState"
    lines = machine.run(shown)[1].split()
    assert set(lines) == {"ExecMainStatus=3", "NRestarts=0", "ActiveState=failed"}, lines


def may_boot():
    """Whether this machine lets a process have namespaces of its own, as a container may not."""
    return subprocess.run([*BOOT, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode == 0


def unpacked(package):
    """What can be tried of a package without a machine to boot: that its programs run, and the server takes its configuration."""
    with tempfile.TemporaryDirectory(prefix="soloist-package-") as directory:
        subprocess.run(["dpkg", "-x", package, directory], check=True)
        server = Path(directory) / "usr/bin/soloist-server"
        subprocess.run([server, "config", "--check", Path(directory) / "etc/soloist/soloist.toml"], check=True)
        subprocess.run([Path(directory) / "usr/bin/soloist", "--version"], check=True)


def main(package):
    if not may_boot():
        unpacked(package)
        print(
            "half hour: NOT DONE: it takes root, and mount, PID and network namespaces, which this machine does not allow. The"
            " package was only unpacked, and its programs run. Run `.ci/deploy package` where they are allowed.",
            file=sys.stderr,
        )
        return
    directory = Path(tempfile.mkdtemp(prefix="soloist-machine-"))
    machine = Machine(directory)
    try:
        machine.bring(package, f"/root/{Path(package).name}")
        machine.bring(GRPCURL, "/usr/local/bin/grpcurl")
        # The machine may have no sudo; the manual says it as people do.
        machine.run(
            "command -v sudo || { printf '#!/bin/sh\\nshift; user=$1; shift; exec runuser -u $user -- \"$@\"\\n'"
            " >/usr/local/bin/sudo; chmod +x /usr/local/bin/sudo; }"
        )
        newcomer(machine)
        supervised(machine)
    finally:
        machine.end()
        directory.rmdir()
    print("the first half hour goes as the manual says")


main(*sys.argv[1:])
