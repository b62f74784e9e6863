"""Rounds, ratios, pilots, fitted curves and tables, with sides that measure nothing."""

from __future__ import annotations

import io
import tempfile
import unittest
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from lib.host.errors import BenchError
from lib.host.processes import Bench, command_text
from lib.measure.curve import Curve, point_name
from lib.measure.figures import Figures, figure_text
from lib.measure.model import Result, Row, Run, Section
from lib.measure.rounds import measure_sections, sized_by_pilots
from lib.results.curve_tables import curve_tables, largest_points_only
from lib.results.fit import growth_text
from lib.results.tables import commands_text, rows_table
from lib.systems.protobuf import decode, length_delimited, varint

ROW = Row("a : b", "a row", ("a", "server us/op"), ("b", "server us/op"), "≤", 0.6)


@contextmanager
def start_two(bench: Bench) -> Iterator[dict[str, Run]]:
    figures = iter([1.0, 2.0, 3.0, 4.0, 1.0, 4.0])
    bench.record_command("a client", ["/usr/bin/taskset", "-c", "1", "/somewhere/soloist-load", "-n", "5"])

    def run(_seconds: float) -> Figures:
        return {"server us/op": next(figures), "others cores": 0.01}

    yield {"a": run, "b": run}


@contextmanager
def start_nothing(_bench: Bench) -> Iterator[dict[str, Run]]:
    raise BenchError("a peer is missing")
    yield {}


class Rounds(unittest.TestCase):
    def test_sides_take_turns_and_the_median_ratio_counts(self) -> None:
        with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
            sections = [Section("two", "two sides", start_two, [ROW]), Section("none", "no side", start_nothing, [])]
            results, failures = measure_sections(Bench({}, Path(folder)), sections, 3, 1.0)
        self.assertEqual(failures, ["none"])
        self.assertEqual(results[0].ratios(ROW), [0.5, 0.75, 0.25])
        line = [
            "two",
            "a : b",
            "a: server 1.000 us/op",
            "b: server 4.000 us/op",
            "0.5",
            "0.5; 0.75; 0.25",
            "≤ 0.6",
            "yes",
            "0.01",
        ]
        self.assertEqual(rows_table(results)[1:], [line])
        commands = "### two: two sides\n#   a : b: a row\n# a client\ntaskset -c 1 soloist-load -n 5"
        self.assertEqual(commands_text(results[0]), commands)

    def test_pilots_find_the_number_of_operations(self) -> None:
        counts: list[int] = []

        def run_count(count: int) -> Figures:
            counts.append(count)
            return {"ops/s": 1_000.0}

        run = sized_by_pilots(run_count, 100)
        run(2.0)
        run(2.0)
        # 100 operations are a tenth of a second and 400 are 0.4; 1,600 are enough to tell the rate.
        self.assertEqual(counts, [100, 400, 1_600, 2_000, 2_000])


class Curves(unittest.TestCase):
    def test_growth(self) -> None:
        xs = [1.0, 10.0, 100.0, 1_000.0]
        cases = {
            "flat": [1.0, 1.1, 1.0, 1.1],
            "linear: 2 + 3 x (± 0%)": [2 + 3 * x for x in xs],
            "shared out: 1 + 5/x (± 0%)": [1 + 5 / x for x in xs],
            "quadratic: 1 + 2 x^2 (± 0%)": [1 + 2 * x * x for x in xs],
        }
        for wanted, ys in cases.items():
            self.assertEqual(growth_text(xs, ys), wanted)

    def test_tables_and_commands(self) -> None:
        curve = Curve("keys", "Reads of any key", start_two, axis="keys")
        names = [point_name("Read", x) for x in (5, 1_000, 100_000)]
        commands = {"Soloist server": "soloist-server", **{f"{name} client": name for name in names}}
        figures = {name: {"server us/op": 2.0, "MB": 20.0} for name in names}
        result = Result(curve, [figures], commands)
        growth, points = curve_tables([result]).values()
        self.assertEqual(growth[1][:6], ["keys", "Read", "5 to 100,000 keys", "server us/op", "2.000", "2.000"])
        self.assertEqual(growth[1][-1], "flat")
        self.assertEqual(points[3], ["keys", "Read", "100,000 keys", "2.000", "–", "20.0", "–"])
        self.assertEqual(list(largest_points_only(result).commands), ["Soloist server", "Read: 100,000 client"])


class Texts(unittest.TestCase):
    def test_figures(self) -> None:
        cases = {
            "p99 us": "p99 1.50 ms",
            "server us/op": "server 1500.000 us/op",
            "ops/s": "1,500 ops/s",
            "start s": "start 1500.00 s",
        }
        for figure, wanted in cases.items():
            self.assertEqual(figure_text(1_500, figure), wanted)

    def test_commands_have_no_folders(self) -> None:
        self.assertEqual(command_text(["/a/b/soloist-server", "--data-dir", "/c/d"]), "soloist-server --data-dir d")

    def test_protobuf(self) -> None:
        message = length_delimited(1, b"key") + varint(3 << 3) + varint(300)
        self.assertEqual(decode(message), {1: b"key", 3: 300})


if __name__ == "__main__":
    unittest.main()
