"""What a script does: parse its arguments, measure, and publish the results."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from lib.command_line import parse_arguments, repeat_command
from lib.host.console import print_status
from lib.host.disk import disk_of
from lib.host.errors import BenchError
from lib.host.paths import LEDGER, PICTURE, ROOT
from lib.host.processes import Bench
from lib.host.programs import soloist_binaries
from lib.measure.model import QUIET_CORES_MAX, Result
from lib.measure.rounds import measure_sections
from lib.results.facts import Facts, measurement_facts
from lib.results.json_report import json_report
from lib.results.ledger import Entry, Ledger, read_ledger, write_ledger
from lib.results.picture import picture
from lib.results.tables import commands_text, plain_text
from lib.script import Script
from lib.systems.grpc_calls import restart_with_grpcio
from lib.systems.versions import versions_used

TERMINATED_EXIT_CODE = 128 + signal.SIGTERM
INTERRUPTED_EXIT_CODE = 128 + signal.SIGINT


def main(script: Script) -> None:
    """Runs the script and ends the process. Servers and clients end with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED_EXIT_CODE))
    try:
        sys.exit(run(script))
    except BenchError as error:
        print_status(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_EXIT_CODE)


def run(script: Script) -> int:
    """The exit code."""
    args = parse_arguments(script)
    restart_with_grpcio()
    check_folders(args)
    with tempfile.TemporaryDirectory(prefix="soloist-bench-", dir=args.dir.resolve()) as scratch:
        bench = Bench(soloist_binaries(args.bin_dir), Path(scratch), not args.unpinned, args.quick, args.keys)
        results, failures = measure_sections(bench, args.sections, args.rounds, args.seconds)
        if results:
            publish(script, args, bench, results, failures)
    if failures:
        print_status(f"did not run: {', '.join(failures)}")
    return 1 if failures else 0


def check_folders(args: argparse.Namespace) -> None:
    """Refuses folders that would make the end of a long measurement fail."""
    folder = args.dir.resolve()
    if not folder.is_dir():
        raise BenchError(f"--dir {args.dir}: there is no such folder")
    # Refuses file systems in memory.
    _ = disk_of(folder)
    for path in (args.json, args.svg):
        if path is not None and not path.resolve().parent.is_dir():
            raise BenchError(f"{path}: its folder does not exist")


def publish(script: Script, args: argparse.Namespace, bench: Bench, results: list[Result], failures: list[str]) -> None:
    """Prints the results, and writes the files that the arguments ask for."""
    rounds = f"{args.rounds} {'round' if args.rounds == 1 else 'rounds'} of {args.seconds:g} s"
    command = repeat_command(script, args)
    facts = measurement_facts(bench, args.bin_dir is not None, rounds, versions_used(results), command)
    print_results(script, results, facts)
    if args.json is not None:
        content = {**json_report(script.schema, results, facts, failures), **script.more_json(results)}
        args.json.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    entry = ledger_entry(script, results, facts)
    if args.svg is not None:
        args.svg.write_text(picture(Ledger("", [entry])))
    if args.write:
        ledger = read_ledger().with_entry(entry)
        write_ledger(ledger)
        PICTURE.write_text(picture(ledger))
        print_status(f"written: {LEDGER.relative_to(ROOT)}, {PICTURE.relative_to(ROOT)}")


def print_results(script: Script, results: list[Result], facts: Facts) -> None:
    first_table = next(iter(script.tables(results).values()))
    commands = "\n\n".join(map(commands_text, results))
    print("\n".join(f"{label}: {text}" for label, text in facts.items()), plain_text(first_table), commands, sep="\n\n")
    noisy = [result.section.name for result in results if (result.others_cores_max or 0.0) > QUIET_CORES_MAX]
    if noisy:
        print_status(f"other processes used more than {QUIET_CORES_MAX} cores; measure again: {', '.join(noisy)}")


def ledger_entry(script: Script, results: list[Result], facts: Facts) -> Entry:
    commands = {result.section.name: commands_text(script.for_ledger(result)) for result in results}
    return Entry(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", script.title, facts, script.tables(results), commands)
