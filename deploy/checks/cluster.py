"""A newcomer's cluster (deploy/cluster-local): it starts, has every series that an alert on clusters is about, goes on when its owner
is killed, and leaves no process behind."""

import json
import os
import re
import signal
import tempfile
import time
import urllib.request
from pathlib import Path

from machinery import LOAD, ROOT, SERVER, Process, grpcurl, until

RULES = ROOT / "deploy/prometheus/soloist.rules.yaml"
ENVIRONMENT = {**os.environ, "SOLOIST_SERVER": str(SERVER), "SOLOIST_LOAD": str(LOAD)}


def is_alive(pid):
    return Path(f"/proc/{pid}").exists()


def ask(address, method, data):
    text = grpcurl(address, f"soloist.v1.{method}", data, "-plaintext", "-max-time", "10")
    return json.loads(text)


def owner_of(nodes):
    """The name of the node that owns the store."""
    shown = {name: ask(node["address"], "Admin/GetNode", {}) for name, node in nodes.items()}
    owners = [name for name, it in shown.items() if it.get("role") == "OWNER"]
    assert len(owners) == 1, shown
    return owners[0]


def series_of(node):
    """The names of the series that a node exports."""
    with urllib.request.urlopen(f"http://{node['http']}/metrics", timeout=10) as answer:
        return set(re.findall(r"(?m)^(\w+)", answer.read().decode()))


def series_of_alerts():
    """Those of a cluster that an alert is about."""
    return set(re.findall(r"\bsoloist_(?:cluster|etcd)_\w+", RULES.read_text()))


def has_every_series(nodes):
    missing = series_of_alerts() - set().union(*map(series_of, nodes.values()))
    return not missing


def check(directory):
    home = directory / "cluster"
    local = Process(directory / "local.log", ROOT / "deploy/cluster-local", "--dir", home, "--owner-ttl", "2s", env=ENVIRONMENT)
    with local:
        local.find("(Ctrl-C ends all of it)")
        state = json.loads((home / "cluster.json").read_text())
        nodes = state["nodes"]
        owner = owner_of(nodes)
        ask(nodes[owner]["address"], "State/Write", {"key": "greeting", "value": {"text": "hello"}})
        until("each series that an alert is about is there", lambda: has_every_series(nodes))
        addresses = ",".join(node["address"] for node in nodes.values())
        with Process(directory / "load.log", LOAD, "-a", addresses, "-z", "8s", "--rps", "500", "--verify", "-q") as load:
            time.sleep(2)
            os.kill(nodes[owner]["pid"], signal.SIGKILL)
            local.find(f"({owner} has ended by SIGKILL; it is started again)")
            new = local.find(r"(?m)^(\w) owns the store")
            load.process.wait(timeout=60)
        assert new != owner, local.text()
        # Which calls were under way when the owner was killed is chance: what was answered must be true.
        verdict = re.sub(r"\s+", " ", load.text())
        assert "linearizable" in verdict and "NOT linearizable" not in verdict, load.text()
        read = ask(nodes[new]["address"], "State/Read", {"key": "greeting"})
        assert read["entry"]["value"]["text"] == "hello", read
        returned = lambda: json.loads((home / "cluster.json").read_text())["nodes"][owner]["pid"] != nodes[owner]["pid"]
        until(f"{owner} is started again", returned)
        pids = [int(pid) for pid in re.findall(r'"pid": (\d+)', (home / "cluster.json").read_text())]
        assert len(pids) == 6 and all(map(is_alive, pids)), pids
        code = local.end(signal.SIGINT)
        assert code == 0, local.text()
        assert not any(map(is_alive, pids)), f"processes are left: {pids}"
    print(f"node {owner} was killed, {new} went on, and everything has ended")


with tempfile.TemporaryDirectory(prefix="soloist-cluster-") as name:
    check(Path(name))
