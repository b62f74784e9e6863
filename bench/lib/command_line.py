"""The command line that the scripts have in common, and what they do with it."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.ledger import LEDGER, as_json, disk_of, entry, facts, output_of, write_ledger
from lib.measuring import QUIET, Result, Section, measure_all
from lib.peers import etcd_program, h2load_program, redis_benchmark, valkey_program
from lib.running import PROGRAM, ROOT, Bench, Failed, report
from lib.svg import drawing
from lib.tables import Table, commands, every_run, plain, summary
from lib.wire import with_tools


def rows_and_runs(results: list[Result]) -> dict[str, Table]:
    return {"": summary(results), "Every run:": every_run(results)}


@dataclass(frozen=True)
class Script:
    """What differs between the scripts."""

    doc: str
    sections: list[Section]
    # Of an entry in the ledger, after the time.
    title: str
    # Of the JSON, with its version.
    schema: str
    # The flag that chooses among the sections.
    only: str = "--only"
    # What --write draws, once everything was measured.
    picture: Path | None = None
    # What becomes of the results in the ledger, by what stands above it. The first also goes to the terminal.
    tables: Callable[[list[Result]], dict[str, Table]] = rows_and_runs
    # What the JSON has besides rows and runs.
    more: Callable[[list[Result]], dict[str, Any]] = lambda _results: {}
    # What --keys is, and what it is without the flag. None: there is no such flag.
    keys: str | None = "keys of memory, recovery and snapshot"
    key_count: int = 1_000_000
    seconds: float = 5.0


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
    parser.add_argument("--unpinned", action="store_true", help="let all use every core, and Soloist as many threads as it likes")
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


def versions(results: list[Result]) -> list[str]:
    """Of the peers that were used."""
    used = " ".join(command for result in results for command in result.commands.values()).split()
    programs: dict[str, Callable[[], str]] = {
        "valkey-server": lambda: output_of(str(valkey_program()), "--version"),
        "redis-benchmark": lambda: output_of(str(redis_benchmark()), "--version"),
        "etcd": lambda: output_of(str(etcd_program()), "--version").partition("\n")[0],
        "h2load": lambda: output_of(str(h2load_program()), "--version"),
    }
    return [version() for program, version in programs.items() if program in used]


def tell(script: Script, args: argparse.Namespace, bench: Bench, results: list[Result], failures: list[str]) -> None:
    runs = f"{args.rounds} {'round' if args.rounds == 1 else 'rounds'} of {args.seconds:g} s{', quick' if args.quick else ''}"
    told = facts(bench, runs, versions(results))
    told.insert(2, f"Disk: {disk_of(bench.scratch)}")
    tables = script.tables(results)
    print("\n".join(told), plain(next(iter(tables.values()))), commands(results), sep="\n\n")
    loud = [result.section.name for result in results if result.others > QUIET]
    if loud:
        report(f"the machine was not quiet (others used more than {QUIET} cores), measure again: {', '.join(loud)}")
    if args.json is not None:
        content = {**as_json(script.schema, results, told, failures), **script.more(results)}
        args.json.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    for path in pictures(script, args, results):
        machine = told[1].removeprefix("Machine: ")
        commit = told[0].removeprefix("Commit: ").partition(";")[0]
        path.write_text(drawing(results, f"medians of {runs}, {machine}, commit {commit}, {datetime.now(UTC):%Y-%m-%d}"))
    if args.write:
        title = f"{script.title}, quick: not for comparison" if args.quick else script.title
        write_ledger(entry(title, results, told, failures, tables))


def pictures(script: Script, args: argparse.Namespace, results: list[Result]) -> Iterator[Path]:
    """Where to draw what was measured."""
    if script.picture is None:
        return
    if args.svg is not None:
        yield args.svg
    if args.write:
        if not args.quick and len(results) == len(script.sections):
            yield script.picture
        else:
            report(f"{script.picture.relative_to(ROOT)} stays as it is: that is for full runs of all sections")


def run(script: Script) -> int:
    args = arguments(script)
    with_tools()
    folder = args.dir.resolve()
    if not folder.is_dir():
        raise Failed(f"there is no {folder}: give another --dir")
    for path in (args.json, getattr(args, "svg", None)):
        if path is not None and not path.resolve().parent.is_dir():
            raise Failed(f"there is no folder for {path}")
    _ = disk_of(folder)
    with tempfile.TemporaryDirectory(prefix="soloist-bench-", dir=folder) as scratch:
        bench = Bench(args.bin_dir, Path(scratch), not args.unpinned, args.quick, args.keys)
        _ = bench.binaries
        results, failures = measure_all(bench, args.only, args.rounds, args.seconds)
        if results:
            tell(script, args, bench, results, failures)
    if failures:
        report(f"did not run: {', '.join(failures)}")
    return 1 if failures else 0


def main(script: Script) -> None:
    """Ends the process. Whatever was started ends with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(run(script))
    except Failed as failed:
        report(str(failed))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
