"""What a theory says, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kflow.demos.report import Report, Section

__all__ = ["Claim", "add_claims"]


@dataclass(frozen=True)
class Claim:
    """A claim, and what was measured of it.

    Attributes
    ----------
    text : str
        The claim, with who made it.
    theory : str
        The number that theory gives; "-" where it gives none.
    measured : str
        What was measured, with its spread over seeds.
    holds : str
        "yes", "no", or in a few words what holds.
    """

    text: str
    theory: str
    measured: str
    holds: str


def add_claims(report: Report, claims: Iterable[Claim], new: str = "") -> Section:
    """Add a section to a report that puts claims next to measurements.

    Parameters
    ----------
    report : Report
        The report.
    claims : iterable of Claim
        The claims, at least one.
    new : str
        Markdown: which of the answers was not known before, and as far as whom that is known.

    Returns
    -------
    Section
        The section.
    """
    rows = [[claim.text, claim.theory, claim.measured, claim.holds] for claim in claims]
    section = report.section("What was claimed, and what was measured")
    section.table(
        ["claim", "theory", "measured", "does it hold?"],
        rows,
        "Claims beside measurements; ± is the standard deviation over seeds.",
    )
    report.numbers["claims"] = [
        dict(zip(("claim", "theory", "measured", "holds"), row, strict=True)) for row in rows
    ]
    if new:
        section.text(f"**What was not known.** {new}")
    return section
