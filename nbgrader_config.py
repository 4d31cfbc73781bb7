"""nbgrader's settings for this course; docs/instructors.md says how to use them.

nbgrader and `course grade` read this file when they are called in this folder.
"""

import os
from pathlib import Path

from course_tools.authoring import STUB
from course_tools.grading.restore import link_sources

from nbgrader import preprocessors as steps
from nbgrader.converters import Autograde

ROOT = Path(__file__).resolve().parent
c = get_config()  # noqa: F821

c.CourseDirectory.course_id = "embeddings"
# One assignment a lesson. source/ holds nothing but links to solutions/.
link_sources(ROOT)
c.CourseDirectory.source_directory = "source"
c.ClearSolutions.code_stub = {"python": STUB}

# A cell may take this long. Submissions are run one at a time, each in one kernel.
c.Execute.timeout = 300
# Beyond this, a cell ends with MemoryError; the largest lesson holds 3,000.
c.SandboxedExecute.memory_mb = 6144

# Whether `course solution 3.2` shows the answer of an exercise that a learner tried, as
# COURSE_SOLUTIONS=off forbids, too. Grading never depends on it.
SHOW_SOLUTIONS = True

# The course's own steps among nbgrader's: see course_tools/grading.
sanitize = ["course_tools.grading.restore.RestoreChecks"]
sanitize += Autograde.sanitize_preprocessors.default()
autograde = Autograde.autograde_preprocessors.default()
autograde[autograde.index(steps.Execute)] = (
    "course_tools.grading.execute.SandboxedExecute"
)
c.Autograde.sanitize_preprocessors = sanitize
c.Autograde.autograde_preprocessors = autograde
c.Autograde.pre_convert_hook = "course_tools.grading.submissions.refuse_strange_files"
# No zero that nobody earned.
c.ExportApp.plugin_class = "course_tools.grading.gradebook.GradesCsv"

# Without an exchange: files such as mary__01_one_hot_vs_embeddings.ipynb.
c.ZipCollectApp.extractor_plugin = "course_tools.grading.collect.Extractor"
c.FileNameCollectorPlugin.named_regexp = (
    r".*/(?P<student_id>[\w.@+-]+)__(?P<file_id>\d\d_\w+)\.ipynb$"
)
# With one: a folder that teachers and students of one machine can write to.
if os.environ.get("NBGRADER_EXCHANGE"):
    c.Exchange.root = os.environ["NBGRADER_EXCHANGE"]
c.ExchangeFactory.collect = "course_tools.grading.collect.Collect"
