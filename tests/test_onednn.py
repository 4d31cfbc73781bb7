"""oneDNN is switched on for one process, and nothing is said about it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import os
{imports}
import sys
import keras
os.write(2, b"heard\\n")
print(os.environ["TF_ENABLE_ONEDNN_OPTS"])
"""


@pytest.mark.parametrize(
    ("before", "imports"),
    [
        (None, "import course_utils.onednn"),
        ("1", "import course_utils.onednn"),
        (None, "import course_utils, tensorflow, course_utils.onednn"),
    ],
)
def test_the_banner_is_kept_back_and_the_environment_as_it_was(before, imports):
    environment = {k: v for k, v in os.environ.items() if k[:9] != "TF_ENABLE"}
    if before:
        environment["TF_ENABLE_ONEDNN_OPTS"] = before
    ran = subprocess.run(
        [sys.executable, "-c", CODE.format(imports=imports)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == (before or "0")
    assert ran.stderr == "heard\n", "what comes later is heard again"
