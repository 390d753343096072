from __future__ import annotations

from kflow.demos.report import Report
from kflow.demos.theory.claims import Claim, add_claims


def test_claims_stand_beside_measurements():
    report = Report("Sums", "They are right.", "true")
    claim = Claim("One and one are two (Peano)", "2", "2 ± 0", "yes")
    add_claims(report, [claim], "That it holds in *float32*.")
    assert "| One and one are two (Peano) | 2 | 2 ± 0 | yes |" in report.markdown()
    assert "**What was not known.** That it holds" in report.markdown()
    assert report.numbers["claims"] == [
        {"claim": claim.text, "theory": "2", "measured": "2 ± 0", "holds": "yes"}
    ]
