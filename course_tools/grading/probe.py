"""What the judge asks a kernel: whether checks, libraries and IPython are genuine.

Code that shares a process with its judge can in the end deceive it. This finds what
one does on the way to a forged ✅, undoes what can be undone, and names all of it for
a human being.
"""

from __future__ import annotations

import inspect
from typing import Any


def look(
    lesson: str, folder: str, exercises: list[str], mend: bool, notebook: dict[str, Any]
) -> dict[str, Any]:
    """Name what a notebook put in the place of the checks, a library or IPython.

    This function is sent to the student's kernel as text, so it stands alone.

    Parameters
    ----------
    lesson : str
        Module of the checks, such as ``lesson_01``; empty for an assignment that
        has none.
    folder : str
        Where the modules of `course_utils.checks` lie.
    exercises : list of str
        The checks that the graded cell calls.
    mend : bool
        Import the checks again where they were replaced, take the notebook's hooks
        out of IPython, and forget earlier outcomes of these exercises.
    notebook : dict
        The notebook's names; with `mend`, ``check`` becomes the lesson's module.

    Returns
    -------
    dict
        ``found``: names such as ``course_utils.checks``, empty where all is well;
        ``numbers``: the exercises that are passed, as their checks print them.
    """
    import ast
    import contextlib
    import functools
    import importlib
    import sys
    import types

    core = "course_utils.checks.core"

    def made_here(value: Any) -> bool:
        """Whether a callable was made in the notebook; asks the value nothing."""
        kind = type(value)
        while kind in (functools.partial, types.MethodType, staticmethod, classmethod):
            value = value.func if kind is functools.partial else value.__func__
            kind = type(value)
        if kind is property:
            return any(made_here(part) for part in (value.fget, value.fset) if part)
        if kind is types.FunctionType:
            return (
                value.__globals__ is notebook
                or "ipykernel_" in value.__code__.co_filename
            )
        if isinstance(value, type):
            return value.__module__ == "__main__"
        return "__call__" in dir(kind) and kind.__module__ == "__main__"

    def foreign(value: Any) -> bool:
        """Whether a hook is neither IPython's nor of an installed library."""
        if type(value) in (types.FunctionType, types.MethodType):
            return made_here(value)
        if isinstance(value, type):
            return value.__module__ == "__main__"
        return made_here(value) or type(value).__module__ in ("builtins", "__main__")

    # --- the course's checks -------------------------------------------------

    def codes(code):
        inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
        return {code}.union(*map(codes, inner))

    library = {contextlib.contextmanager(codes).__code__}

    def written(value: Any) -> Any:
        """Code of a function as its author wrote it, without its decorator."""
        kind = type(value)
        if kind in (staticmethod, classmethod, type(functools.cache(len))):
            value = value.__wrapped__
        elif kind is property:
            value = value.fget
        elif kind is vars(sys.modules[core]).get("Check"):
            value = vars(value).get("_function")
        elif getattr(value, "__code__", None) in library:
            value = value.__wrapped__
        return value.__code__ if type(value) is types.FunctionType else None

    def same(full: str, path: str) -> bool:
        with open(path, encoding="utf-8") as stream:
            tree = ast.parse(stream.read())
        genuine = codes(compile(tree, path, "exec"))
        live = sys.modules.get(full)
        if type(live) is not types.ModuleType:
            return False
        names = vars(live)
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                mine = written(names.get(node.name))
                if mine not in genuine or mine.co_name != node.name:
                    return False
            elif isinstance(node, ast.ClassDef):
                kept = vars(names.get(node.name, int))
                for part in node.body:
                    if isinstance(part, ast.FunctionDef):
                        if written(kept.get(part.name)) not in genuine:
                            return False
            elif isinstance(node, ast.ImportFrom) and "checks" in (node.module or ""):
                source = vars(sys.modules[str(node.module)])
                for a in node.names:
                    if a.name not in source or names.get(a.name) is not source[a.name]:
                        return False
            elif isinstance(node, ast.Import):
                for a in node.names:
                    if a.asname and names.get(a.asname) is not sys.modules[a.name]:
                        return False
        return True

    def all_same() -> bool:
        package = "course_utils.checks."
        parts = {name.removeprefix(package) for name in sys.modules}
        parts = {name for name in parts if f"{package}{name}" in sys.modules}
        try:
            return all(
                same(f"{package}{name}", f"{folder}/{name}.py")
                for name in {*parts, "core", lesson}
            )
        except OSError:  # a module that the course has not
            return False

    found: list[str] = []
    full = f"course_utils.checks.{lesson}"
    # A notebook whose set-up failed has no checks: they will say so themselves.
    there = bool(lesson) and (full in sys.modules or "check" in notebook)
    if there and not all_same():
        found.append("course_utils.checks")
    # What a check holds as data could be other data by now: each cell gets new checks.
    if mend and there:
        for name in list(sys.modules):
            if name.startswith("course_utils.checks"):
                del sys.modules[name]
        importlib.import_module(full)
        if not all_same():
            found.append("the way Python imports")
    if mend and there:
        notebook["check"] = sys.modules[full]

    # --- IPython -------------------------------------------------------------

    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    if shell:
        manager = shell.input_transformer_manager
        lists = {
            **{f"events.{name}": at for name, at in shell.events.callbacks.items()},
            "ast_transformers": shell.ast_transformers,
            "input_transformers_post": shell.input_transformers_post,
            "input_transformers_cleanup": manager.cleanup_transforms,
            "line_transforms": manager.line_transforms,
            "token_transformers": manager.token_transformers,
        }
        for name, hooks in lists.items():
            strange = [hook for hook in hooks if foreign(hook)]
            if strange:
                found.append(f"IPython's {name}")
            if mend:
                hooks[:] = [hook for hook in hooks if not foreign(hook)]
        kernel = getattr(shell, "kernel", None)
        parts = {
            "shell": shell,
            "kernel": kernel,
            "display_pub": shell.display_pub,
            "displayhook": shell.displayhook,
        }
        for name, part in parts.items():
            if type(part).__module__ == "__main__":
                found.append(f"IPython's {name}")
            for key, value in list(vars(part).items()) if part is not None else []:
                if made_here(value) and key != "user_module":
                    found.append(f"IPython's {name}.{key}")
                    if mend and key in dir(type(part)):
                        with contextlib.suppress(Exception):
                            delattr(part, key)
        for formatter in shell.display_formatter.formatters.values():
            for kind in (str, list, dict):
                if made_here(formatter.type_printers.get(kind)):
                    found.append(f"how IPython shows a {kind.__name__}")
        if shell.custom_exceptions:
            found.append("IPython's set_custom_exc")
            if mend:
                shell.custom_exceptions = ()
    streams = (sys.stdout, sys.displayhook, sys.excepthook, *sys.meta_path)
    for value in streams:
        if made_here(value) or type(value).__module__ == "__main__":
            found.append(f"Python's own {type(value).__name__}")
    if sys.gettrace() is not None and made_here(sys.gettrace()):
        found.append("sys.settrace")
    if sys.getprofile() is not None and made_here(sys.getprofile()):
        found.append("sys.setprofile")

    # --- libraries -----------------------------------------------------------

    # What is made in a notebook has no business in a module, or in its classes.
    for name, module in list(sys.modules.items()):
        if name in ("__main__", "__mp_main__") or type(module) is not types.ModuleType:
            continue
        ours = name.startswith("course_utils.checks")
        for key, value in list(vars(module).items()):
            kind = type(value)
            if kind is types.FunctionType:
                if not ours and made_here(value):
                    found.append(f"{name}.{key}")
            elif isinstance(value, type):
                if value.__module__ == name:
                    for attribute, inner in list(vars(value).items()):
                        if type(inner) is types.FunctionType and made_here(inner):
                            found.append(f"{name}.{key}.{attribute}")
            elif kind.__module__ == "__main__" and key not in ("_", "last_value"):
                if "__call__" in dir(kind):
                    found.append(f"{name}.{key}")

    # --- outcomes ------------------------------------------------------------

    numbers = []
    checks = vars(sys.modules[full]) if full in sys.modules else {}
    for exercise in exercises:
        check = vars(checks.get(exercise, types)).get("outcome")
        if mend and check is not None:
            checks[exercise].outcome = sys.modules[core].Outcome.OPEN
        elif check == "passed":
            numbers.append(str(checks[exercise].number))
    return {"found": [one[:200] for one in found[:20]], "numbers": numbers}


# Read once: the file may change while a class is graded.
SOURCE = (
    "from __future__ import annotations\nfrom typing import Any\n\n"
    + inspect.getsource(look)
)
