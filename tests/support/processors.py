"""Kinds of processors, simulated: which instructions libraries use, how many threads.

Each library reads its own variable while it is loaded. TensorFlow's own kernels cannot
be switched; oneDNN's, which it uses where asked, can.
"""

from __future__ import annotations

import ast
import json
import os
import platform
import subprocess
import sys
from functools import cache
from typing import Any

THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


def _instructions(openblas: str, numpy: str, torch: str, faiss: str, dnn: str) -> dict:
    return {
        "OPENBLAS_CORETYPE": openblas,
        "NPY_DISABLE_CPU_FEATURES": numpy,
        "ATEN_CPU_CAPABILITY": torch,
        "FAISS_OPT_LEVEL": faiss,
        "ONEDNN_MAX_CPU_ISA": dnn,
        "DNNL_MAX_CPU_ISA": dnn,
    }


AVX2 = _instructions("Haswell", "X86_V4", "avx2", "avx2", "AVX2")
AVX = _instructions("Sandybridge", "X86_V3 X86_V4", "default", "generic", "AVX")
SSE = _instructions("Prescott", "X86_V3 X86_V4", "default", "generic", "SSE41")
# Methods after which their object is another one: trained, filled, or a generator that
# has moved on.
CHANGING = {"fit", "train", "append", "add", "update", "set_params", "set_weights"}
CHANGING |= {"normal", "integers", "permutation", "choice", "shuffle", "random"}
# By name: what to set in the environment of a process.
KINDS = {
    "AVX2": AVX2,
    "AVX2, one thread": AVX2 | dict.fromkeys(THREADS, "1"),
    "AVX, four threads": AVX | dict.fromkeys(THREADS, "4"),
    "SSE, two threads": SSE | dict.fromkeys(THREADS, "2"),
    "as it is, one thread": dict.fromkeys(THREADS, "1"),
    "as it is, four threads": dict.fromkeys(THREADS, "4"),
    # Another order of sums in TensorFlow, whose own kernels cannot be switched.
    "as it is, oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "1"},
}
if platform.machine().lower() not in ("x86_64", "amd64"):
    KINDS = {name: kind for name, kind in KINDS.items() if "as it is" in name}


def environment(name: str) -> dict[str, str]:
    """Variables of a process that is to compute as a kind of processor does."""
    features = _numpy_features()
    kind = dict(KINDS[name])
    # NumPy warns when asked to disable what the machine does not have.
    disabled = kind.pop("NPY_DISABLE_CPU_FEATURES", "").split()
    kept = {n: v for n, v in os.environ.items() if n not in AVX2}
    if found := [feature for feature in disabled if features.get(feature)]:
        kind["NPY_DISABLE_CPU_FEATURES"] = " ".join(found)
    return kept | kind


def another_kind() -> str:
    """Name a kind that this machine is not, nor is made to be by its environment."""
    if "AVX2" not in KINDS:
        return "as it is, one thread"
    features = _numpy_features()
    openblas = os.environ.get("OPENBLAS_CORETYPE")
    is_avx2 = openblas == "Haswell" if openblas else not features["X86_V4"]
    return "SSE, two threads" if is_avx2 or not features["X86_V3"] else "AVX2"


@cache
def _numpy_features() -> dict[str, bool]:
    """What NumPy finds in this processor, with nothing disabled."""
    code = "import json, numpy._core._multiarray_umath as core\n"
    code += "print(json.dumps(core.__cpu_features__))"
    kept = {n: v for n, v in os.environ.items() if n not in AVX2}
    asked = subprocess.run(
        [sys.executable, "-c", code], env=kept, capture_output=True, check=True
    )
    return json.loads(asked.stdout)


def untrained_cells(cells: list[Any], seeds: set[str]) -> list[Any]:
    """Leave out some code cells, and all that need what those define.

    Parameters
    ----------
    cells : list of nbformat.NotebookNode
        Code cells in their order.
    seeds : set of str
        Ids of the cells to leave out.

    Returns
    -------
    list of nbformat.NotebookNode
        The others, which run without them.
    """
    missing: set[str] = set()
    kept = []
    for cell in cells:
        read, written = _names(cell.source)
        if cell.id in seeds or read & missing:
            missing |= written
        else:
            missing -= written
            kept.append(cell)
    return kept


def _names(source: str) -> tuple[set[str], set[str]]:
    """Names that code needs from other cells, and those that it sets or may change."""
    read: set[str] = set()
    written: set[str] = set()
    for statement in ast.parse(source).body:
        loaded, local, changed = set(), set(), set()
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                loaded.add(node.id)
            elif isinstance(node, ast.Name):
                changed.add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                changed.add(node.name)
            elif isinstance(node, ast.alias):
                changed.add((node.asname or node.name).partition(".")[0])
            elif isinstance(node, ast.arg):
                local.add(node.arg)
            elif isinstance(node, ast.For | ast.comprehension):
                local |= {
                    n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)
                }
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                changed |= _base(node)
            elif isinstance(node, ast.Call):
                changed |= _changed_by(node)
        read |= loaded - local - written
        written |= changed
    return read, written


def _changed_by(call: ast.Call) -> set[str]:
    """Name of the object that a call leaves as another one."""
    if isinstance(call.func, ast.Attribute) and call.func.attr in CHANGING:
        return _base(call.func)
    if isinstance(call.func, ast.Name) and call.func.id == "train":
        return _base(call.args[0])
    return set()


def _base(node: ast.AST) -> set[str]:
    """Name that `name.attribute[item]` begins with."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()
