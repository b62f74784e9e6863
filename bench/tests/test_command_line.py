"""The command that the ledger keeps: it repeats a measurement, and names no path of the machine."""

from __future__ import annotations

import unittest
from unittest import mock

from lib.command_line import parse_arguments, repeat_command
from lib.script import Script
from tests.scripts import SCRIPTS

COMPARE, _, _, OVERLOAD, _ = SCRIPTS


def repeated(script: Script, *arguments: str) -> str:
    with mock.patch("sys.argv", ["a script", *arguments]), mock.patch("lib.command_line.PROGRAM", "bench/script"):
        return repeat_command(script, parse_arguments(script))


class RepeatedCommand(unittest.TestCase):
    def test_options_that_change_the_measurement_are_kept(self) -> None:
        cases = {
            (): "bench/script",
            ("--quick",): "bench/script --quick",
            ("--rounds", "3", "--seconds", "5"): "bench/script",
            (
                "--rows",
                "unary,memory",
                "--seconds",
                "2.5",
                "--keys",
                "7",
            ): "bench/script --rows unary,memory --seconds 2.5 --keys 7",
            (
                "--bin-dir",
                "/a/b",
                "--dir=/tmp",
                "--json",
                "/c",
                "--svg",
                "/d",
                "--write",
                "--unpinned",
            ): "bench/script --unpinned",
        }
        for arguments, wanted in cases.items():
            self.assertEqual(repeated(COMPARE, *arguments), wanted)

    def test_a_script_without_keys_does_not_name_them(self) -> None:
        self.assertEqual(repeated(OVERLOAD, "--quick", "--only", "fairness"), "bench/script --only fairness --quick")


if __name__ == "__main__":
    unittest.main()
