"""The first page shows what `course doctor` finds, on any machine in the same words."""

from __future__ import annotations

import subprocess

from course_utils import doctor_report
from course_utils.doctor_report import DoctorReport, doctor

import pytest


def said(monkeypatch, out, err=""):
    done = subprocess.CompletedProcess([], 1, out, err)
    monkeypatch.setattr(doctor_report.subprocess, "run", lambda *_, **__: done)
    return doctor()


def test_where_all_is_well_a_sentence_counts_what_was_looked_at(monkeypatch):
    report = said(monkeypatch, "✅ Python\n✅ memory\nNothing was found.\n")
    assert report == DoctorReport(2)
    assert "2 things looked at; nothing was found" in report._repr_html_()


def test_a_problem_is_shown_with_its_cure(monkeypatch):
    out = "✅ Python\n❌ 900 MB of <memory>\n   Close other programs.\n✅ disk\n"
    report = said(monkeypatch, out, "The course found one thing to mend.\n")
    assert report.good == 2
    assert report.problems == ("900 MB of <memory>. Close other programs.",)
    assert "<li>900 MB of &lt;memory&gt;. Close other" in report._repr_html_()


@pytest.mark.parametrize("err", ["There are no lessons here.\n", ""])
def test_where_the_command_does_not_start_that_is_the_problem(monkeypatch, err):
    (problem,) = said(monkeypatch, "", err).problems
    assert problem == (err.strip() or "`course doctor` did not start.")


def test_this_machine_is_looked_at():
    report = doctor()
    assert report.good > 5
    # What is compared when the page is tested: the same on every machine.
    assert repr(report) == "What course doctor found on this machine"
