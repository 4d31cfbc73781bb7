"""The first page shows what `course doctor` finds, on any machine in the same words."""

from __future__ import annotations

import subprocess

from course_utils import doctor_report
from course_utils.doctor_report import DoctorReport, doctor

import pytest
from IPython.lib.pretty import pretty


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


def test_printed_it_says_what_it_found(monkeypatch, capsys):
    out = "✅ Python\n❌ 900 MB of memory\n   Close other programs.\n"
    print(said(monkeypatch, out))
    announced, found = capsys.readouterr().out.splitlines()
    assert announced.startswith("Looking at versions, memory, disk and data")
    assert found == "❌ 900 MB of memory. Close other programs."
    print(said(monkeypatch, "✅ Python\n"))
    assert "✅ 1 things looked at" in capsys.readouterr().out


def test_this_machine_is_looked_at(monkeypatch):
    report = doctor()
    assert report.good > 5 and f"{report.good} things" in repr(report)
    assert pretty(report) == repr(report)
    # What is compared when the page is tested: the same on every machine.
    monkeypatch.setattr(doctor_report, "shell", object)
    assert pretty(report) == "What course doctor found on this machine"
