"""The image of deploy/Containerfile, made by umoci and run by runc, without a registry: it answers a call, its command line
works inside of it, and its volume is still there after a restart."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from machinery import GRPCURL, ROOT, TOOLS, Process, run

UMOCI = TOOLS / "umoci/usr/bin/umoci"
RUNC = TOOLS / "runc/usr/sbin/runc"
USER = 65532


def containerfile():
    """The instructions of the last stage, by name."""
    text = (ROOT / "deploy/Containerfile").read_text().replace("\\\n", " ")
    stage = text.split("FROM scratch\n")[1]
    return dict(line.split(None, 1) for line in stage.splitlines() if line and not line.startswith(("#", "COPY")))


def make(directory, programs):
    """Makes the image. Returns its name."""
    image = f"{directory}/image:1"
    run(UMOCI, "init", "--layout", directory / "image")
    run(UMOCI, "new", "--image", image)
    bundle = directory / "empty"
    run(UMOCI, "unpack", "--image", image, bundle)
    for program in programs:
        shutil.copy2(program, bundle / "rootfs")
    data = bundle / "rootfs/data"
    data.mkdir()
    os.chown(data, USER, USER)
    run(UMOCI, "repack", "--image", image, bundle)
    told = containerfile()
    assert told["USER"] == f"{USER}:{USER}", told
    flags = [f"--config.user={told['USER']}", f"--config.volume={told['VOLUME']}"]
    flags += [f"--config.entrypoint={word}" for word in json.loads(told["ENTRYPOINT"])]
    flags += [f"--config.cmd={word}" for word in json.loads(told["CMD"])]
    flags += [f"--config.exposedports={port}" for port in told["EXPOSE"].split()]
    run(UMOCI, "config", "--image", image, *flags)
    return image


class Container(Process):
    """A container with a read-only root, no capabilities, a network of its own, and a volume."""

    def __init__(self, directory, image, name, volume, *flags):
        self.name, self.bundle, self.state = f"{name}-{os.getpid()}", directory / name, directory / "runc"
        run(UMOCI, "unpack", "--image", image, self.bundle)
        path = self.bundle / "config.json"
        config = json.loads(path.read_text())
        process = config["process"]
        assert process["user"]["uid"] == process["user"]["gid"] == USER, process["user"]
        process.update(terminal=False, noNewPrivileges=True, capabilities={}, args=[*process["args"], *flags])
        config["root"]["readonly"] = True
        config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] != "/data"]
        config["mounts"].append({"destination": "/data", "source": str(volume), "type": "bind", "options": ["bind", "rw"]})
        path.write_text(json.dumps(config))
        super().__init__(
            directory / f"{name}.log", RUNC, "--root", self.state, "run", "--bundle", self.bundle, self.name
        )
        self.find(r"(listening on)")
        self.pid = json.loads(run(RUNC, "--root", self.state, "state", self.name))["pid"]

    def call(self, method, data):
        """Calls the server from inside of the container's network."""
        enter = ["nsenter", "--target", self.pid, "--net"]
        return run(*enter, GRPCURL, "-plaintext", "-d", json.dumps(data), "127.0.0.1:50051", method)

    def execute(self, *words):
        """Runs a command inside of the container."""
        return run(RUNC, "--root", self.state, "exec", self.name, *words)

    def end(self, number=None):
        if self.process.poll() is None:
            run(RUNC, "--root", self.state, "kill", self.name, "TERM")
        return self.process.wait(timeout=30)


def main(programs):
    for program in programs:
        linked = run("ldd", program, check=False)
        assert "statically linked" in linked or "not a dynamic executable" in linked, linked
    with tempfile.TemporaryDirectory(prefix="soloist-image-") as name:
        directory = Path(name)
        image = make(directory, programs)
        volume = directory / "volume"
        volume.mkdir()
        os.chown(volume, USER, USER)
        with Container(directory, image, "first", volume) as container:
            container.call("soloist.v1.State/Write", {"key": "greeting", "value": {"text": "hello"}})
            told = container.execute("/soloist", "get", "greeting")
            assert told == "hello\nrevision 1\n", told
            assert container.end() == 0, container.text()
        with Container(directory, image, "second", volume) as container:
            read = container.call("soloist.v1.State/Read", {"key": "greeting"})
            assert "hello" in read, read
            roots = Path(f"/proc/{container.pid}/status").read_text()
            assert f"Uid:\t{USER}\t{USER}" in roots and "CapEff:\t0000000000000000" in roots, roots
        size = sum(file.stat().st_size for file in (directory / "image/blobs").rglob("*") if file.is_file())
    print(f"the image answers, and keeps its volume over a restart; it has {size / 1e6:.1f} MB")


main(sys.argv[1:])
