"""TensorFlow loads as a lesson asks, and nothing else in the process changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import ModuleType

import course_utils
from course_utils import CourseError, frameworks
from tests.support.kernel import texts_of

import pytest

SWITCH = "TF_ENABLE_ONEDNN_OPTS"
OFF = "course_utils.configure_tensorflow()"
ON = "course_utils.configure_tensorflow(onednn=True)"
# oneDNN is in the builds for Linux and Windows.
BUILT_IN = sys.platform != "darwin"


def run(code, **variables):
    """Run code in a process that inherits no setting of a framework."""
    ours = {SWITCH, "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND", "OPENBLAS_NUM_THREADS"}
    ours |= {name for name in os.environ if name.startswith("MALLOC_")}
    environment = {k: v for k, v in os.environ.items() if k not in ours} | variables
    return subprocess.run(
        [sys.executable, "-c", f"import os, sys, json, course_utils\n{code}"],
        env=environment,
        capture_output=True,
        text=True,
    )


CODE = """
{asked}
import keras
from tensorflow.python.util import _pywrap_util_port as port
os.write(2, b"heard\\n")
switch = os.environ.get("TF_ENABLE_ONEDNN_OPTS")
print(json.dumps([port.IsMklEnabled(), keras.backend.backend(), switch]))
"""


@pytest.mark.parametrize(
    ("variables", "asked", "on"),
    [
        ({}, f"{ON}; {ON}", True),
        ({}, f"import course_utils.metric_learning; {OFF}", False),
        # The user's own variables win.
        ({SWITCH: "1", "KERAS_BACKEND": "torch"}, OFF, True),
        pytest.param({SWITCH: "0"}, ON, False, marks=pytest.mark.long),
    ],
)
def test_onednn_is_as_asked_and_nothing_is_said_about_it(variables, asked, on):
    ran = run(CODE.format(asked=asked), **variables)
    assert ran.returncode == 0, ran.stderr
    backend = variables.get("KERAS_BACKEND", "tensorflow")
    assert json.loads(ran.stdout) == [on and BUILT_IN, backend, variables.get(SWITCH)]
    assert ran.stderr == "heard\n", "what comes later is heard again"


@pytest.fixture(params=["tensorflow", "keras"])
def loaded(request, monkeypatch):
    """Stand in for a TensorFlow or Keras that the process has imported."""
    for name in ("tensorflow", "keras"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, request.param, ModuleType(request.param))
    monkeypatch.delenv(SWITCH, raising=False)


@pytest.mark.parametrize(
    ("imported_with", "asked"),
    [(None, False), (None, True), (False, True), (True, False)],
)
def test_a_tensorflow_that_was_imported_otherwise_is_refused(
    loaded, monkeypatch, imported_with, asked
):
    monkeypatch.setattr(frameworks, "_onednn", imported_with)
    with pytest.raises(CourseError, match=f"onednn={asked}.*restart the kernel"):
        course_utils.configure_tensorflow(onednn=asked)
    assert SWITCH not in os.environ


def test_a_tensorflow_that_follows_the_users_own_variable_is_left_alone(
    loaded, monkeypatch
):
    monkeypatch.setattr(frameworks, "_onednn", None)
    monkeypatch.setenv(SWITCH, "0")
    course_utils.configure_tensorflow()


def test_importing_the_package_changes_no_environment_variable():
    code = "import os; before = dict(os.environ); import course_utils; "
    code += "sys = __import__('sys'); sys.exit(dict(os.environ) != before)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


THREADS = """
import faiss, numpy, torch, scipy.linalg, sklearn.linear_model
from threadpoolctl import ThreadpoolController
ThreadpoolController().limit(limits=2)
torch.set_num_threads(2)
faiss.omp_set_num_threads(2)
course_utils.setup()
sklearn.linear_model.LogisticRegression().fit([[0.0], [1.0]], [0, 1])
blas = {}
for one in ThreadpoolController().info():
    if one["user_api"] == "blas":
        blas[one["threading_layer"]] = one["num_threads"]
print(json.dumps([blas, torch.get_num_threads(), faiss.omp_get_max_threads()]))
"""


def test_setup_leaves_one_thread_to_linear_algebra_and_theirs_to_frameworks():
    ran = run(THREADS)
    blas, torch, faiss = json.loads(ran.stdout)
    # That of NumPy and SciPy, and that of faiss, which shares the threads of faiss.
    assert {"pthreads": 1, "openmp": 2}.items() >= blas.items() and "pthreads" in blas
    assert (torch, faiss) == (2, 2)


def test_a_number_of_threads_that_the_user_chose_is_kept():
    blas, *_ = json.loads(run(THREADS, OPENBLAS_NUM_THREADS="2").stdout)
    assert set(blas.values()) == {2}


def held_after_freeing(first):
    """Megabytes that a process holds beyond its start, after 200 were freed."""
    code = f"""
import numpy as np, psutil
from course_utils import frameworks
{first}
def held():
    return psutil.Process().memory_info().rss / 1e6
large = np.ones(2_000_000)  # glibc would now keep blocks of this size
del large
start = held()
blocks = [np.ones(500_000) for _ in range(50)]
del blocks[:-1]  # the last stays, and pins what lies below it
print(held() - start)
"""
    ran = run(code)
    assert ran.returncode == 0, ran.stderr
    return float(ran.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_goes_back_to_the_system():
    assert held_after_freeing("") > 100, "else the setting proves nothing"
    assert held_after_freeing("frameworks.return_freed_memory()") < 30


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_what_a_cell_freed_goes_back_when_it_ends():
    # Small blocks in a cycle, every hundredth kept: neither Python nor glibc would
    # give a page of them back.
    cycles = """
import gc, psutil
import course_utils
course_utils.setup(); course_utils.setup()
def held():
    return psutil.Process().memory_info().rss / 1e6
gc.disable()
start = held()
"""
    fill = """
class Node: pass
node = Node(); node.itself = node
node.blocks = [bytearray(3_000) for _ in range(40_000)]
kept = node.blocks[::100]
del node
print(held() - start > 100)
"""
    told = texts_of(
        cycles, fill, "print(held() - start < 30)", "print(gc.get_freeze_count() > 0)"
    )
    assert told[1:] == ["True\n"] * 3
