"""The scripts, loaded as modules: their files have no suffix."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

from lib.host.paths import ROOT
from lib.script import Script

# Loading a script must not leave __pycache__ in this folder.
sys.dont_write_bytecode = True

NAMES = ("compare", "durable", "scale", "overload", "cluster")


def load_script(name: str) -> Script:
    loader = SourceFileLoader(f"script_{name}", str(ROOT / "bench" / name))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    script: Script = module.SCRIPT
    return script


SCRIPTS = [load_script(name) for name in NAMES]
