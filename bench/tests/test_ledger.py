"""The ledger bench/RESULTS.md: its form, and that it agrees with the sections and with the picture."""

from __future__ import annotations

import re
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

from lib.host.errors import BenchError
from lib.host.paths import LEDGER, PICTURE
from lib.results.ledger import Entry, Ledger, read_ledger, write_ledger
from lib.results.ledger_figures import ledger_figure, read_figure
from lib.results.picture import picture
from lib.results.tables import ROWS_HEADING
from tests.scripts import SCRIPTS


def entry(time: str, *sections: str) -> Entry:
    """One row for each section."""
    lines = [[name, "a row", "Soloist: 1 ops/s", "Valkey: 2 ops/s", "0.5", "0.5", "≥ 1", "no", "0.00"] for name in sections]
    commands = {name: f"### {name}: of a test\n# Soloist server\nsoloist-server" for name in sections}
    return Entry(time, "a test", {"Commit": "1234567", "Machine": "a machine"}, {"": [ROWS_HEADING, *lines]}, commands)


class Form(unittest.TestCase):
    def test_the_ledger_is_written_back_as_it_was_read(self) -> None:
        self.assertEqual(str(read_ledger()), LEDGER.read_text())

    def test_an_entry_is_read_back_as_it_was_written(self) -> None:
        captioned = replace(entry("2026-01-02 03:04 UTC", "unary", "writes"), title="with, commas: and colons")
        captioned.tables["Points, medians of the rounds:"] = [["section", "x"], ["unary", "1"]]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "RESULTS.md"
            write_ledger(Ledger("# Results\n", [captioned]), path)
            self.assertEqual(read_ledger(path).entries, [captioned])

    def test_an_unknown_line_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "RESULTS.md"
            write_ledger(Ledger("# Results\n", [entry("2026-01-02 03:04 UTC", "unary")]), path)
            path.write_text(path.read_text() + "\nsome prose\n")
            with self.assertRaises(BenchError):
                read_ledger(path)

    def test_every_entry_has_date_commit_machine_and_command(self) -> None:
        for entry in read_ledger().entries:
            for label in ("Commit", "Machine", "Runs", "Command"):
                self.assertIn(label, entry.facts, entry.time)

    def test_no_path_of_a_machine_is_in_it(self) -> None:
        self.assertEqual(re.findall(r"(?:^|[\s'\"`=(])(/\w+/?[\w./-]*)", LEDGER.read_text(), re.MULTILINE), [])


class Replacement(unittest.TestCase):
    def test_a_new_entry_takes_its_sections_out_of_older_ones(self) -> None:
        old = Ledger("# Results", [entry("2026-01-02 03:04 UTC", "unary", "writes"), entry("2026-01-01 03:04 UTC", "memory")])
        new = old.with_entry(entry("2026-01-03 03:04 UTC", "writes", "memory"))
        self.assertEqual([one.sections for one in new.entries], [{"writes", "memory"}, {"unary"}])
        self.assertEqual(list(new.entries[1].commands), ["unary"])

    def test_an_entry_of_another_processor_stays(self) -> None:
        old = entry("2026-01-02 03:04 UTC", "unary", "writes")
        new = replace(entry("2026-01-03 03:04 UTC", "writes"), facts={"Machine": "another machine, 2 cores"})
        self.assertEqual([one.sections for one in Ledger("", [old]).with_entry(new).entries], [{"writes"}, {"unary", "writes"}])


class Agreement(unittest.TestCase):
    def test_a_name_means_the_same_section_in_all_scripts(self) -> None:
        sections = [section for script in SCRIPTS for section in script.sections]
        by_name = {section.name: section for section in sections}
        for section in sections:
            self.assertIs(by_name[section.name], section)

    def test_every_row_of_the_ledger_is_one_of_the_sections(self) -> None:
        rows = {section.name: {row.name for row in section.rows} for script in SCRIPTS for section in script.sections}
        for entry in read_ledger().entries:
            for table in entry.tables.values():
                for line in table[1:]:
                    self.assertIn(line[0], rows)
                    if table[0] == ROWS_HEADING:
                        self.assertIn(line[1], rows[line[0]])

    def test_the_picture_shows_the_figures_of_the_ledger(self) -> None:
        self.assertEqual(PICTURE.read_text(), picture(read_ledger()))


class Figures(unittest.TestCase):
    def test_cells(self) -> None:
        of_test = entry("2026-01-02 03:04 UTC", "unary")
        cases = {
            "Valkey: server 9.297 us/op": ("Valkey", 9.297, "us/op"),
            "Go: 1,976,023 ops/s": ("Go", 1_976_023, "ops/s"),
            "durable, paced: p99 1.25 ms": ("durable, paced", 1.25, "ms"),
            "10x: otherwise 0 failed": ("10x", 0, "failed"),
        }
        for cell, wanted in cases.items():
            figure = read_figure(cell, of_test)
            self.assertEqual((figure.side, figure.value, figure.unit), wanted)

    def test_the_newest_entry_counts(self) -> None:
        newest, older = entry("2026-01-02 03:04 UTC", "unary"), entry("2026-01-01 03:04 UTC", "unary")
        figure = ledger_figure(Ledger("", [newest, older]), "unary", "a row", "compared with")
        assert figure is not None
        self.assertEqual((figure.value, figure.entry.time), (2, newest.time))
        self.assertIsNone(ledger_figure(Ledger("", [newest]), "unary", "another row", "measured"))


if __name__ == "__main__":
    unittest.main()
