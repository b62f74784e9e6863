"""Each alert is tested, explained, and has a sentence of what to do; and whoever names an alert names one that exists."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main():
    rules = (ROOT / "deploy/prometheus/soloist.rules.yaml").read_text()
    tests = (ROOT / "deploy/prometheus/soloist.test.yaml").read_text()
    manual = (ROOT / "docs/operating.md").read_text()
    parts = re.split(r"^ *- alert: ", rules, flags=re.MULTILINE)[1:]
    alerts = {part.split()[0] for part in parts}
    for part in parts:
        name = part.split()[0]
        for needed in ["expr:", "for:", "severity:", "summary:", "description:", "runbook:"]:
            assert re.search(rf"^ *{needed}", part, re.MULTILINE), f"{name} has no {needed}"
        assert f'alertname="{name}"' in tests, f"soloist.test.yaml does not make {name} fire"
        assert f"\n| {name} |" in manual, f"docs/operating.md does not explain {name}"
    for text in (rules, tests, manual):
        named = set(re.findall(r"\bSoloist[A-Z]\w+", text))
        assert named <= alerts, f"there is no alert {named - alerts}"
    print(f"{len(alerts)} alerts are tested and explained")


main()
