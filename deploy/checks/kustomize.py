"""What the manifests name exists: files, config maps, claims, ports, images, and the secrets that kustomization.yaml tells to make.

kustomize itself is in none of the registries that CI reaches.
"""

from pathlib import Path

import yaml

KUBERNETES = Path(__file__).resolve().parents[1] / "kubernetes"


def walk(node):
    """All mappings in a document."""
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from walk(child)
    elif isinstance(node, list):
        for child in node:
            yield from walk(child)


def named(documents, *keys):
    """The values below `keys`, wherever they are."""
    for document in documents:
        for node in walk(document):
            for key in keys:
                node = node.get(key) if isinstance(node, dict) else None
            if node is not None:
                yield node


def check(folder):
    text = (folder / "kustomization.yaml").read_text()
    kustomization = yaml.safe_load(text)
    files = {file.name for file in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files, f"resources are not the files {files}"
    generated = kustomization["configMapGenerator"]
    for file in (file for one in generated for file in one["files"]):
        assert (folder / file).is_file(), f"there is no {file}"
    documents = [document for file in sorted(files) for document in yaml.safe_load_all((folder / file).read_text())]

    config_maps = {one["name"] for one in generated}
    for name in named(documents, "configMap", "name"):
        assert name in config_maps, f"there is no config map {name}"
    for name in named(documents, "secret", "secretName"):
        assert f" {name} --" in text, f"kustomization.yaml does not tell how to make the secret {name}"
    claims = {document["metadata"]["name"] for document in documents if document["kind"] == "PersistentVolumeClaim"}
    for name in named(documents, "persistentVolumeClaim", "claimName"):
        assert name in claims, f"there is no claim {name}"
    images = {image["name"] for image in kustomization["images"]}
    assert set(named(documents, "image")) == images, images
    ports = {port["name"] for ports in named(documents, "containers") for one in ports for port in one.get("ports", [])}
    probes = {node["port"] for node in named(documents, "httpGet")}
    targets = {port["targetPort"] for document in documents if document["kind"] == "Service" for port in document["spec"]["ports"]}
    assert probes <= ports and targets == ports, (probes, targets, ports)
    mounts = set(named(documents, "mountPath"))
    for path in [line.split('"')[1] for line in (folder / "soloist.toml").read_text().splitlines() if '"/' in line]:
        assert any(path == mount or path.startswith(f"{mount}/") for mount in mounts), f"nothing is mounted at {path}"
    print(f"{len(documents)} manifests of {folder.name} name what exists")


check(KUBERNETES)
check(KUBERNETES / "cluster")
