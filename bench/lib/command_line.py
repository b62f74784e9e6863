"""The command line that the scripts have in common."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from lib.host.console import PROGRAM
from lib.host.paths import ROOT
from lib.measure.model import Section
from lib.results.ledger import LEDGER
from lib.script import Script


def at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"it is a whole number from 1, not {text}")
    return int(text)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.1 <= value <= 300:
        raise argparse.ArgumentTypeError(f"it is from 0.1 to 300, not {text}")
    return value


def chosen(sections: list[Section]) -> Callable[[str], list[Section]]:
    def choose(text: str) -> list[Section]:
        by_name = {section.name: section for section in sections}
        unknown = [name for name in text.split(",") if name not in by_name]
        if unknown:
            raise argparse.ArgumentTypeError(f"nothing is named {', '.join(unknown)}; there are {', '.join(by_name)}")
        return [by_name[name] for name in text.split(",")]

    return choose


def arguments(script: Script) -> argparse.Namespace:
    width = max(len(section.name) for section in script.sections)
    names = "\n".join(f"  {section.name:{width}} {section.what}" for section in script.sections)
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=script.doc,
        epilog=f"sections:\n{names}\n\nExits with 0 whatever the figures are, with 1 if something did not run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    target = ROOT / "target"
    parser.add_argument(
        script.only,
        dest="only",
        type=chosen(script.sections),
        default=script.sections,
        metavar="NAME,...",
        help="only these (default: all)",
    )
    parser.add_argument("--rounds", type=at_least_one, metavar="N", help="runs of each side (default: 3)")
    parser.add_argument("--seconds", type=seconds, metavar="S", help=f"how long a run takes (default: {script.seconds:g})")
    if script.keys is not None:
        help_ = f"{script.keys} (default: {script.key_count})"
        parser.add_argument("--keys", type=at_least_one, metavar="N", help=help_)
    quick = "one round of a second, a tenth of the keys: whether it works, not how fast"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--bin-dir", type=Path, metavar="DIR", help="take the binaries from there, build nothing")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="a folder on the disk to use (default: target)")
    parser.add_argument(
        "--unpinned", action="store_true", help="let all use every core, and Soloist as many threads as it likes"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured there")
    written = f"add an entry to {LEDGER.relative_to(ROOT)}"
    if script.picture is not None:
        parser.add_argument("--svg", type=Path, metavar="FILE", help="draw there how far each goal is reached")
        written += f", and draw {script.picture.relative_to(ROOT)} if all sections were measured and not with --quick"
    parser.add_argument("--write", action="store_true", help=written)
    args = parser.parse_args()
    defaults = (("rounds", 3, 1), ("seconds", script.seconds, 1.0), ("keys", script.key_count, script.key_count // 10))
    for name, usual, quickly in defaults:
        if getattr(args, name, None) is None:
            setattr(args, name, quickly if args.quick else usual)
    if args.dir is None:
        target.mkdir(exist_ok=True)
        args.dir = target
    return args
