"""Make the course's environment in .venv: ``python3 bootstrap.py lab|test|book|hub``.

``make lab``, ``make test``, ``make book`` and ``make hub`` call this; it needs nothing
but a Python. It is kept readable for old versions of Python, so that those too can say
what they lack. What it installs stands in requirements/, each file with its digest.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig

HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(HERE, ".venv")
BIN = os.path.join(VENV, "bin")
PYTHON = os.path.join(BIN, "python")
VERSION = "{}.{}".format(*sys.version_info[:2])
SUPPORTED = ((3, 11), (3, 12), (3, 13))
PURPOSES = ("lab", "test", "book", "hub")
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def main():
    """Find a Python, make .venv, install what is locked in requirements/."""
    purpose = sys.argv[1] if len(sys.argv) > 1 else "lab"
    if purpose not in PURPOSES:
        stop(f"'{purpose}' is no environment; choose {', '.join(PURPOSES)}.")
    use_supported_python()
    make_venv()
    say("1 of 3: torch")
    install_torch()
    say("2 of 3: JupyterLab, Keras and the rest, one to five minutes")
    pip(*locked(purpose))
    # What builds this package is among the locked: nothing more is fetched for it.
    pip("install", "--no-deps", "--no-build-isolation", "--editable", HERE)
    say("3 of 3: annoy, which is compiled here")
    install_annoy()
    if purpose == "hub":
        install_proxy()
    ready = os.path.join(VENV, "ready-" + purpose)
    with open(ready, "w", encoding="utf-8") as stamp:
        stamp.write("made by bootstrap.py\n")
    say("Ready.")


def say(text):
    """Print a line at once."""
    print("[set-up] " + text, flush=True)


def stop(text):
    """End with a sentence that says what to do."""
    sys.exit("[set-up] " + text)


def use_supported_python():
    """Go on with this Python, or start again with another that is supported."""
    if sys.version_info[:2] in SUPPORTED:
        return
    for version in reversed(SUPPORTED):
        other = shutil.which("python{}.{}".format(*version))
        # A version manager's shim may stand there and yet start nothing.
        if other and subprocess.call([other, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            os.execv(other, [other] + sys.argv)
    stop(
        f"This is Python {platform.python_version()}; the course needs 3.11, 3.12 or "
        "3.13. Install one, or name it: make lab PYTHON=/path/to/python3.12"
    )


def make_venv():
    """Create .venv, or mend one that was left half made or was moved."""
    if os.path.exists(PYTHON) and works():
        return
    missing = (
        "Python's own venv module cannot make an environment here. On Debian and "
        f"Ubuntu: sudo apt-get install python{VERSION}-venv"
    )
    try:
        import ensurepip  # noqa: F401
        import venv
    except ImportError:
        stop(missing)
    say("a new environment in .venv")
    try:
        venv.EnvBuilder(with_pip=True, clear=True, symlinks=True).create(VENV)
    except (subprocess.CalledProcessError, OSError) as error:
        stop(f"{missing} ({error})")


def works():
    """Tell whether the environment's pip starts, with a supported Python."""
    code = f"import sys, pip; sys.exit(sys.version_info[:2] not in {SUPPORTED!r})"
    return subprocess.call([PYTHON, "-c", code], stderr=subprocess.DEVNULL) == 0


def locked(name):
    """Give pip's arguments to install a lock file and nothing beside it."""
    path = os.path.join(HERE, "requirements", name + ".txt")
    return ("install", "--require-hashes", "--no-deps", "--requirement", path)


def pip(*arguments):
    """Run the environment's pip, and end where it fails."""
    if not try_pip(*arguments):
        stop(
            "pip could not finish: the lines above say why. With a connection again, "
            "the same command goes on where it stopped."
        )


def try_pip(*arguments):
    """Run the environment's pip, and tell whether it succeeded."""
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check"]
    return subprocess.call(command + list(arguments), cwd=HERE) == 0


def install_torch():
    """Install torch's CPU build where it can be had, else the package index's own.

    On Linux the latter brings several GB for graphics cards.
    """
    if platform.system() == "Linux" and reachable(TORCH_CPU_INDEX + "/torch/"):
        if try_pip(*locked("torch-cpu"), "--index-url", TORCH_CPU_INDEX):
            return
    if try_pip(*locked("torch-cpu")):
        return
    say("there is no CPU build of torch in reach; the other one is larger")
    pip(*locked("torch-gpu"))


def reachable(address):
    """Tell whether an address answers within three seconds."""
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(address, timeout=3):
            return True
    except (URLError, OSError):
        return False


def install_annoy():
    """Compile annoy, or say what is missing for lessons 06 and 07 and go on."""
    missing = []
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        missing.append("a C++ compiler (Debian, Ubuntu: g++; Fedora: gcc-c++)")
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
    if not os.path.exists(header):
        missing.append(
            f"the Python headers (Debian, Ubuntu: python{VERSION}-dev; Fedora: "
            "python3-devel)"
        )
    check = [PYTHON, "-c", "import annoy"]
    if subprocess.call(check, stderr=subprocess.DEVNULL) == 0:
        return
    if missing or not try_pip(*locked("annoy"), "--no-build-isolation"):
        reason = " and ".join(missing) if missing else "what the lines above say"
        say(
            f"annoy is left out for want of {reason}. Lessons 06 and 07 then use faiss "
            "alone. To have it, install what is missing, then: make setup"
        )


def install_proxy():
    """Install JupyterHub's proxy, which is written in JavaScript, below deploy/."""
    npm = shutil.which("npm")
    folder = os.path.join(HERE, "deploy")
    # `ci` installs what package-lock.json names, each file checked against its digest;
    # no package runs a script of its own.
    command = [npm, "ci", "--no-fund", "--ignore-scripts"]
    if not npm or subprocess.call(command, cwd=folder) != 0:
        reason = "what the lines above say" if npm else "npm (Debian, Ubuntu: npm)"
        say(
            f"JupyterHub's proxy is left out for want of {reason}. To have it, "
            "install what is missing, then: make hub"
        )


if __name__ == "__main__":
    main()
