"""The command line of the scripts."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.host.console import PROGRAM
from lib.host.paths import LEDGER, PICTURE, ROOT
from lib.measure.model import Section
from lib.script import Script

ROUNDS, QUICK_ROUNDS = 3, 1
QUICK_SECONDS = 1.0
QUICK_KEYS_DIVISOR = 10
SECONDS_MIN, SECONDS_MAX = 0.1, 300


def parse_arguments(script: Script) -> argparse.Namespace:
    """The arguments, with defaults filled in. `sections` are those that were chosen."""
    parser = argument_parser(script)
    args = parser.parse_args()
    if args.quick and args.write:
        parser.error("--write keeps full runs only: leave out --quick")
    for name, default in defaults(script, args.quick).items():
        if getattr(args, name) is None:
            setattr(args, name, default)
    if args.dir is None:
        args.dir = ROOT / "target"
        args.dir.mkdir(exist_ok=True)
    return args


def defaults(script: Script, quick: bool) -> dict[str, Any]:
    """The defaults of those options that --quick changes."""
    if quick:
        return {"rounds": QUICK_ROUNDS, "seconds": QUICK_SECONDS, "keys": script.key_count // QUICK_KEYS_DIVISOR}
    return {"rounds": ROUNDS, "seconds": script.seconds, "keys": script.key_count}


def argument_parser(script: Script) -> argparse.ArgumentParser:
    width = max(len(section.name) for section in script.sections)
    names = "\n".join(f"  {section.name:{width}} {section.description}" for section in script.sections)
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=script.doc,
        epilog=f"sections:\n{names}\n\nThe exit code is 1 if a section did not run, and 0 whatever the figures are.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        script.sections_flag,
        dest="sections",
        type=section_parser(script.sections),
        default=script.sections,
        metavar="NAME,...",
        help="measure only these sections (default: all)",
    )
    rounds_help = f"rounds, in each of which every side runs once (default: {ROUNDS})"
    parser.add_argument("--rounds", type=positive_integer, metavar="N", help=rounds_help)
    parser.add_argument("--seconds", type=seconds, metavar="S", help=f"length of a run (default: {script.seconds:g})")
    if script.keys_help is None:
        parser.set_defaults(keys=None)
    else:
        keys_help = f"{script.keys_help} (default: {script.key_count})"
        parser.add_argument("--keys", type=positive_integer, metavar="N", help=keys_help)
    quick_help = "one round of a second with a tenth of the keys: shows that everything works; the figures mean nothing"
    parser.add_argument("--quick", action="store_true", help=quick_help)
    bin_dir_help = "take soloist-server and soloist-load from this folder (default: build them)"
    parser.add_argument("--bin-dir", type=Path, metavar="DIR", help=bin_dir_help)
    dir_help = "folder for the data of the servers; durable sections measure its disk (default: target)"
    parser.add_argument("--dir", type=Path, metavar="DIR", help=dir_help)
    unpinned_help = "let every process use every core, and Soloist as many threads as it chooses"
    parser.add_argument("--unpinned", action="store_true", help=unpinned_help)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to this file")
    if script.draws:
        parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the results into this file")
    else:
        parser.set_defaults(svg=None)
    ledger, picture = LEDGER.relative_to(ROOT), PICTURE.relative_to(ROOT)
    write_help = f"replace the results of these sections in {ledger}, and draw {picture} again"
    parser.add_argument("--write", action="store_true", help=write_help)
    return parser


def section_parser(sections: list[Section]) -> Callable[[str], list[Section]]:
    by_name = {section.name: section for section in sections}

    def parse(text: str) -> list[Section]:
        names = text.split(",")
        unknown = [name for name in names if name not in by_name]
        if unknown:
            raise argparse.ArgumentTypeError(f"no section is named {', '.join(unknown)}; the sections are {', '.join(by_name)}")
        return [by_name[name] for name in names]

    return parse


def positive_integer(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not SECONDS_MIN <= value <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"must be from {SECONDS_MIN} to {SECONDS_MAX} seconds, not {text!r}")
    return value


def repeat_command(script: Script, args: argparse.Namespace) -> str:
    """The command that repeats this measurement. It leaves out folders and files: they are of this machine only."""
    words = [PROGRAM]
    if args.sections != script.sections:
        words += [script.sections_flag, ",".join(section.name for section in args.sections)]
    for name, default in defaults(script, args.quick).items():
        value = getattr(args, name)
        if value != default:
            words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    if args.quick:
        words.append("--quick")
    if args.unpinned:
        words.append("--unpinned")
    return shlex.join(words)
