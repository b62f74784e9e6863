"""A real Prometheus scrapes servers under load.

Every expression of the dashboard has data. Every series that an alert is about has data. The causes of alerts are made, and the
alerts fire; where no cause was made, they are silent. The alerts are those of soloist.rules.yaml, with shorter times. Slow disks,
busy owners and failed snapshots are not made here: soloist.test.yaml has them.
"""

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from machinery import GRPCURL, LOAD, ROOT, SERVER, Prometheus, Server, background, certificates, grpcurl, run, until

RULES = ROOT / "deploy/prometheus/soloist.rules.yaml"
DASHBOARD = ROOT / "deploy/grafana/soloist.json"

# In place of those of the rules.
WINDOW = "5s"
BACKUP_AGE = "15"

# They depend on the machine: its disk may be slow, and its processor so busy that a scrape is late.
MACHINE = {"SoloistCommitSlow", "SoloistFsyncSlow", "SoloistOwnerBusy", "SoloistDown"}


def hurried(rules):
    """The rules with shorter times."""
    rules = re.sub(r"\bfor: \d+[smh]", "for: 0s", rules)
    rules = re.sub(r"\[(5m|10m|1h)\]", f"[{WINDOW}]", rules)
    assert "> 26 * 3600" in rules
    return rules.replace("> 26 * 3600", f"> {BACKUP_AGE}")


class Busy(Server):
    """A healthy server under load, whose calls are refused now and then."""

    def __init__(self, directory):
        super().__init__(directory, "busy", "--data-dir", directory / "busy")
        states = {"open": {"next": ["closed"]}, "closed": {}}
        machine = {"name": "doors", "key_prefix": "doors/", "initial": "open", "states": states}
        self.call("Machines/DefineMachine", {"machine": machine})
        self.call("State/Write", {"key": "doors/1", "value": {"text": "front"}})
        self.call("Sessions/OpenSession", {"id": "anna", "ttl": "600s"})

    def call(self, method, data, check=True):
        return grpcurl(self.address, f"soloist.v1.{method}", data, "-plaintext", check=check)

    def refuse(self):
        self.call("State/Write", {"key": "doors/1", "value": {"int": "1"}, "expect": {"exists": False}}, check=False)

    def back_up(self, directory):
        run(SERVER, "backup", "--from", self.address, "--to", directory / f"{time.monotonic_ns()}.backup")


class Secure(Server):
    """A server with TLS and an access file."""

    def __init__(self, directory, name, days, *flags):
        home = directory / name
        home.mkdir()
        cert, key, self.ca = certificates(home, days)
        made = run(SERVER, "token", "reader")
        self.token = re.search(r"slst_\S+", made).group()
        digest = re.search(r"sha256:\w+", made).group()
        self.access = home / "access.toml"
        self.access.write_text(f'[identities.reader]\ntokens = ["{digest}"]\nroles = ["reader"]\n[roles.reader]\nread = ["a/*"]\n')
        flags = ["--tls-cert", cert, "--tls-key", key, "--access-file", self.access, *flags]
        super().__init__(directory, name, *flags)

    def read(self, key, token=None):
        bearer = f"authorization: Bearer {token or self.token}"
        grpcurl(self.address, "soloist.v1.State/Read", {"key": key}, "-cacert", self.ca, "-H", bearer, check=False)


class Crowded(Server):
    """A server whose mailbox and store are too small."""

    def __init__(self, directory):
        super().__init__(directory, "crowded", "--mailbox-messages", 1, "--max-store-bytes", "100kB")
        value = json.dumps({"key": "filler", "value": {"text": "x" * 95_000}})
        command = [GRPCURL, "-plaintext", "-d", "@", self.address, "soloist.v1.State/Write"]
        subprocess.run(command, input=value, text=True, check=True, capture_output=True)


class Watched(Server):
    """A server whose history is short, and a watch of everything that is read slowly."""

    def __init__(self, directory):
        super().__init__(directory, "watched", "--watch-ring-events", 100)
        self.watch()

    def watch(self):
        command = [GRPCURL, "-plaintext", "-d", json.dumps({"prefix": ""}), self.address, "soloist.v1.State/Watch"]
        self.watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        os.set_blocking(self.watching.stdout.fileno(), False)

    def read_a_little(self):
        try:
            if not os.read(self.watching.stdout.fileno(), 1 << 16):
                self.watching.wait()
                self.watch()
        except BlockingIOError:
            pass

    def end(self, *number):
        self.watching.kill()
        self.watching.wait()
        return super().end(*number)


def load(directory, server, *flags):
    """Loads a server in the background."""
    return background(directory / f"load-{server.name}.log", LOAD, server.address, "-z", "90s", "-q", *flags)


def panels():
    """The dashboard's expressions, each with the title of its panel."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", WINDOW).replace("$job", "soloist").replace("$instance", ".*")
            assert "$" not in expression, expression
            yield panel["title"], expression


def selectors(rules):
    """The series that the alerts are about."""
    for expression in re.findall(r"expr: (?:>-\n)?(.*?)\n +for:", rules, re.DOTALL):
        yield from re.findall(r"\b(?:soloist|process|up)\w*(?:\{[^}]*\})?", expression)


def has_data(prometheus, expression):
    return any(sample["value"][1] != "NaN" for sample in prometheus.ask(expression))


def check(directory):
    rules = RULES.read_text()
    sick_flags = ["--data-dir", directory / "sick-data", "--min-free-bytes", 1 << 60]
    with (
        Busy(directory) as busy,
        Secure(directory, "secure", 90) as secure,
        Secure(directory, "sick", 3, *sick_flags) as sick,
        Crowded(directory) as crowded,
        Watched(directory) as watched,
        Server(directory, "gone") as gone,
        load(directory, busy, "--readers", 20, "--writers", 5, "--engine", "unary"),
        load(directory, crowded, "--readers", 20, "--writers", 20),
        load(directory, watched, "--readers", 1, "--writers", 20, "--rps", "5k"),
        Prometheus(
            directory,
            {busy: "http", secure: "https", sick: "https", crowded: "http", watched: "http", gone: "http"},
            hurried(rules),
        ) as prometheus,
    ):
        secure.read("b")
        sick.access.write_text("[identities")
        sick.process.send_signal(signal.SIGHUP)

        expected = {
            "sick: SoloistCertificateExpires",
            "sick: SoloistReloadFailed",
            "sick: SoloistDiskLow",
            "sick: SoloistBackupOld",
            "sick: SoloistDeniedSpike",
            "crowded: SoloistOverloaded",
            "crowded: SoloistStoreNearlyFull",
            "watched: SoloistWatchLagged",
        }
        seen = set()
        silent = {f"{title}: {expression}": expression for title, expression in panels()}
        backed_up = 0

        def look():
            nonlocal backed_up
            busy.refuse()
            for _ in range(5):
                sick.read("a/1", token="slst_nobody")
            if time.monotonic() - backed_up > 3:
                busy.back_up(directory)
                backed_up = time.monotonic()
            watched.read_a_little()
            seen.update(prometheus.firing())
            for title, expression in list(silent.items()):
                if has_data(prometheus, expression):
                    del silent[title]
            return expected <= seen and not silent

        try:
            until("", look, seconds=60)
        except AssertionError:
            raise AssertionError(f"do not fire: {expected - seen}; have no data: {silent}") from None
        # cluster.py has a cluster, and looks for its series.
        series = {selector for selector in selectors(rules) if not selector.startswith(("soloist_cluster_", "soloist_etcd_"))}
        for selector in series:
            assert has_data(prometheus, f"count({selector})"), f"{selector} has no data, but an alert is about it"

        gone.end()
        down = lambda: {alert for alert in prometheus.firing() if alert.endswith("SoloistDown")}
        until("SoloistDown fires, for this server alone", lambda: down() == {"gone: SoloistDown"})
        seen.update(prometheus.firing())
        surprise = {alert for alert in seen - expected if alert.split()[1] not in MACHINE}
        assert not surprise, f"fire without a cause: {surprise}"
    print(f"{len(list(panels()))} expressions and {len(series)} series have data, {len(expected) + 1} alerts fired, no other did")


with tempfile.TemporaryDirectory(prefix="soloist-observe-") as name:
    check(Path(name))
