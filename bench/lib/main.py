"""What the scripts do: measure, tell, and keep."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lib.command_line import arguments
from lib.host.console import report
from lib.host.disk import disk_of
from lib.host.errors import Failed
from lib.host.paths import ROOT
from lib.host.processes import Bench
from lib.measure.model import QUIET, Result
from lib.measure.rounds import measure_all
from lib.results.facts import facts
from lib.results.json_report import as_json
from lib.results.ledger import entry, write_ledger
from lib.results.svg import drawing
from lib.results.tables import commands, plain
from lib.script import Script
from lib.systems.calls import with_tools
from lib.systems.versions import versions


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
