"""Set the course up, and start it.

``python3 bootstrap.py lab`` makes the environment .venv; with test, book or hub it is
made for that purpose. ``make`` calls these. ``here`` installs what lab does into the
environment that is active, for conda and Binder. ``start`` opens the lessons, after
``lab`` where that is still to do. On Windows, write ``py`` in place of ``python3``.
``hub`` makes the environment in the folder that CLASS_ENVIRONMENT names, with a copy of
the package, so that students can use it and cannot read this checkout.

It needs nothing but a Python, and is kept readable for old versions of Python, so that
those too can say what they lack. What it installs stands in requirements/, each file
with its digest. uv installs it; where uv cannot run, pip does, which takes longer.
"""

import ast
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from urllib.request import getproxies, urlopen

HERE = os.path.dirname(os.path.abspath(__file__))
# Where a class has its environment, if outside this checkout.
CLASS = os.environ.get("CLASS_ENVIRONMENT", "") if sys.argv[1:2] == ["hub"] else ""
VENV = os.path.abspath(CLASS or os.path.join(HERE, ".venv"))
REQUIREMENTS = os.path.join(HERE, "requirements")
WINDOWS = os.name == "nt"
VERSION = "{}.{}".format(*sys.version_info[:2])
SUPPORTED = ((3, 11), (3, 12), (3, 13))
PURPOSES = ("lab", "test", "book", "hub", "here", "start")
SYSTEMS = (
    "The course runs on Linux (x86-64 or aarch64, glibc 2.28 or newer), on macOS 14 or "
    "newer (Apple silicon) and on Windows (x86-64)."
)
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Compiled at once, or first imports of TensorFlow and torch, whose optimisers import
# sympy, would take seconds longer: on Binder in each session. Of the other packages,
# small ones aside, a lesson imports the lesser part.
COMPILED = "keras matplotlib numpy pandas scipy sklearn sympy tensorflow torch".split()


def main():
    """Do what the first argument asks for."""
    purpose = sys.argv[1] if len(sys.argv) > 1 else "lab"
    if purpose not in PURPOSES:
        stop(f"'{purpose}' is unknown; choose {', '.join(PURPOSES)}.")
    if purpose == "start":
        sys.exit(start(sys.argv[2:]))
    check_system()
    if purpose == "hub" and WINDOWS:
        stop("JupyterHub does not run on Windows. In WSL2: make hub")
    use_supported_python(search=purpose != "here")
    if purpose == "here":
        check_active()
        with tempfile.TemporaryDirectory() as tools:
            set_up(sys.executable, "lab", tools)
    else:
        python = make_venv()
        set_up(python, purpose, os.path.join(VENV, "uv"))
        with open(stamp(purpose), "w", encoding="utf-8") as stream:
            stream.write("made by bootstrap.py\n")
    say("Ready.")


def set_up(python, purpose, tools):
    """Install into an environment what one purpose needs, and the course itself."""
    say("1 of 3: JupyterLab, Keras and the rest")
    installer = Installer(python, tools)
    installer.require(purpose)
    annoy = Annoy(installer)
    try:
        say("2 of 3: torch")
        install_torch(installer)
        compiling = installer.start_compiling()
        # What builds this package is among the locked: nothing more is fetched for it.
        own = ("--force-reinstall", HERE) if CLASS else ("--editable", HERE)
        if not installer.run("--no-deps", "--no-build-isolation", *own):
            installer.stop()
        spell_path_in_ascii(python)
        say("3 of 3: annoy, which is compiled here")
        annoy.install()
    finally:
        annoy.end()
    if compiling:
        compiling.wait()
    if purpose == "hub":
        install_proxy()


def again():
    """Give the command that sets up once more."""
    if sys.argv[1:2] == ["here"]:
        return "python bootstrap.py here"
    return "py bootstrap.py lab" if WINDOWS else "make setup"


def spell_path_in_ascii(python):
    """Name the course's folder relative to the environment where it is not ASCII.

    Before 3.13 Python reads the file that names it in the locale's encoding.
    """
    code = "import sysconfig; print(ascii(sysconfig.get_path('purelib')))"
    packages = ast.literal_eval(ask([python, "-X", "utf8", "-c", code]) or "''")
    path = os.path.join(packages, "_editable_impl_course_utils.pth")
    if not os.path.exists(path) or HERE.isascii():
        return
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(os.path.relpath(HERE, packages) + "\n")


def say(text):
    """Print a line at once."""
    print("[set-up] " + text, flush=True)


def stop(text):
    """End with a sentence that says what to do."""
    sys.exit("[set-up] " + text)


def quiet(command):
    """Run a command without its output, and tell whether it succeeded."""
    try:
        return (
            subprocess.call(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            == 0
        )
    except OSError:
        return False


# --- the machine --------------------------------------------------------------


def check_system():
    """End where the locked packages have no builds for this system."""
    found = unsupported()
    if found:
        stop(f"This is {found}, for which some packages have no builds. {SYSTEMS}")


def unsupported():
    """Name this system if the course does not run on it."""
    machine = platform.machine()
    if sys.maxsize < 2**32:
        return "a 32-bit Python"
    system = platform.system()
    if system == "Darwin":
        if machine != "arm64":
            return "a Mac with an Intel processor, or a Python made for one"
        release = platform.mac_ver()[0]
        return "macOS " + release if int(release.split(".")[0]) < 14 else None
    if system == "Windows":
        build = sysconfig.get_platform()
        return None if build == "win-amd64" else "a Python for " + build
    if system == "Linux" and machine in ("x86_64", "aarch64"):
        name, release = platform.libc_ver()
        if name != "glibc":
            return "Linux without glibc"
        numbers = tuple(int(part) for part in release.split(".")[:2])
        return None if numbers >= (2, 28) else "Linux with glibc " + release
    return f"{system} on {machine}"


def use_supported_python(search=True):
    """Go on with this Python, or start again with another that is supported."""
    if sys.version_info[:2] in SUPPORTED:
        return
    for version in reversed(SUPPORTED if search else ()):
        number = "{}.{}".format(*version)
        for name, options in (("python" + number, []), ("py", ["-" + number])):
            other = shutil.which(name)
            # A version manager's shim may stand there and yet start nothing.
            if other and quiet([other] + options + ["-c", ""]):
                sys.exit(call_in_front([other] + options + sys.argv))
    example = "make lab PYTHON=/path/to/python3.12"
    if WINDOWS:
        example = "py -3.12 bootstrap.py lab"
    stop(
        f"This is Python {platform.python_version()}; the course needs 3.11, 3.12 or "
        f"3.13. Install one, or name it: {example}"
    )


def check_active():
    """End where no environment is active: the system's Python stays as it is."""
    conda = os.path.isdir(os.path.join(sys.prefix, "conda-meta"))
    if sys.prefix == sys.base_prefix and not conda:
        stop(
            "'here' installs into an active environment, and none is active. "
            "Activate one, or let `lab` make .venv."
        )


def call_in_front(command):
    """Run a command that Ctrl+C is meant for, and give its exit code."""
    signal.signal(signal.SIGINT, lambda *_: None)
    return subprocess.call(command)


# --- the environment ----------------------------------------------------------


def program(name):
    """Give the path of a program in .venv."""
    if WINDOWS:
        return os.path.join(VENV, "Scripts", name + ".exe")
    return os.path.join(VENV, "bin", name)


def stamp(purpose):
    """Give the path of the file that says for what .venv is ready."""
    return os.path.join(VENV, "ready-" + purpose)


def is_ready(purpose):
    """Tell whether nothing that set-up reads is newer than its stamp."""
    if not os.path.exists(stamp(purpose)):
        return False
    files = [os.path.join(HERE, "pyproject.toml"), os.path.abspath(__file__)]
    files += [
        os.path.join(REQUIREMENTS, name)
        for name in os.listdir(REQUIREMENTS)
        if name.endswith(".txt")
    ]
    made = os.path.getmtime(stamp(purpose))
    return all(os.path.getmtime(path) <= made for path in files)


def start(arguments):
    """Open the lessons, and set them up before where need be."""
    if not is_ready("lab"):
        code = subprocess.call([sys.executable, os.path.abspath(__file__), "lab"])
        if code:
            return code
    return call_in_front([program("course"), "lab"] + arguments)


def make_venv():
    """Create .venv, or mend one that was left half made, and give its Python."""
    python = program("python")
    code = f"import sys; sys.exit(sys.version_info[:2] not in {SUPPORTED!r})"
    if os.path.exists(python) and quiet([python, "-c", code]):
        return python
    if CLASS and os.path.isdir(VENV) and os.listdir(VENV):
        if not os.path.exists(os.path.join(VENV, "pyvenv.cfg")):
            stop(f"CLASS_ENVIRONMENT={VENV} holds something else; name a new folder.")
    say(f"a new environment in {CLASS or '.venv'}")
    try:
        import venv

        # Without pip, which takes seconds; the lock brings one.
        venv.EnvBuilder(clear=True, symlinks=not WINDOWS).create(VENV)
    except (ImportError, subprocess.CalledProcessError, OSError) as error:
        stop(f"{missing_venv()} ({error})")
    return python


def missing_venv():
    """Say which package of the system makes environments."""
    return (
        "Python's own venv and pip cannot be used here. On Debian and Ubuntu: "
        f"sudo apt-get install python{VERSION}-venv"
    )


# --- pip's settings, for uv ---------------------------------------------------


def read_settings(listing):
    """Read what ``pip config list`` prints; what comes later in pip's order wins.

    Settings of ``[install]`` override those of ``[global]``, the environment's both.
    Empty ones do not count, as in pip.
    """
    found = {}
    for section in ("global.", "install.", ":env:."):
        for line in listing.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(section):
                text = ast.literal_eval(value)
                if text:
                    found[name[len(section) :]] = text
    return found


def uv_settings(pip, version, environment):
    """Say to uv, which reads none of pip's settings, what they say to pip.

    ``pip`` is from `read_settings`, ``version`` the two numbers of pip's version,
    ``environment`` what the process runs in. Gives arguments for ``uv pip install``,
    and variables: these for all that may hold a password.
    """
    arguments = []
    variables = {}

    def words(name):
        return pip.get(name, "").split()

    def is_on(name):
        return pip.get(name, "").lower() in ("1", "on", "t", "true", "y", "yes")

    if "index-url" in pip:
        variables["UV_DEFAULT_INDEX"] = pip["index-url"]
    if "extra-index-url" in pip:
        variables["UV_INDEX"] = " ".join(words("extra-index-url"))
    for place in words("find-links"):
        place = os.path.expanduser(place)
        # pip passes over a folder that is gone; uv would end there.
        if "://" in place or os.path.exists(place):
            arguments += ["--find-links", place]
    if is_on("no-index"):
        arguments += ["--no-index"]
    for name in ("no-binary", "only-binary"):
        for package in pip.get(name, "").replace(",", " ").split():
            arguments += ["--" + name, package]
    for host in words("trusted-host"):
        arguments += ["--allow-insecure-host", host]
    if "subprocess" in words("keyring-provider"):
        arguments += ["--keyring-provider", "subprocess"]
    if is_on("no-cache-dir"):
        arguments += ["--no-cache"]

    bundle = pip.get("cert")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        bundle = bundle or environment.get(name)
    if bundle:
        kind = "SSL_CERT_DIR" if os.path.isdir(bundle) else "SSL_CERT_FILE"
        variables[kind] = bundle
    elif version >= (24, 2):
        variables["UV_SYSTEM_CERTS"] = "true"  # as pip does from then on
    if "client-cert" in pip:
        variables["SSL_CLIENT_CERT"] = pip["client-cert"]

    # Like pip, take what Windows and macOS say where nothing else is said.
    proxies = {name: getproxies().get(name) for name in ("http", "https")}
    if "proxy" in pip:
        scheme = "" if "://" in pip["proxy"] else "http://"
        proxies = dict.fromkeys(proxies, scheme + pip["proxy"])
    for name, address in proxies.items():
        if address:
            variables[name.upper() + "_PROXY"] = address
            variables[name + "_proxy"] = address
    for name in ("timeout", "default-timeout"):
        if name in pip:
            variables["UV_HTTP_TIMEOUT"] = str(int(float(pip[name])))
    if "retries" in pip:
        variables["UV_HTTP_RETRIES"] = pip["retries"]
    return arguments, variables


# --- installing ---------------------------------------------------------------


class Installer:
    """Installs what is locked into one environment, by uv or else by pip."""

    def __init__(self, python, tools):
        """Get uv into the folder ``tools``, and hand pip's settings on to it."""
        self.python = python
        # pip of the Python that runs this; only where it has none, the environment's.
        pip = [sys.executable, "-m", "pip"]
        told = ask(pip + ["--version"])
        if not told:
            pip = [self.with_pip(), "-m", "pip"]
            told = ask(pip + ["--version"])
        self.settings = []
        self.constraints = []
        self.use_settings(pip, tuple(map(int, re.findall(r"\d+", told)[:2])))
        self.uv = get_uv(pip, tools)
        if self.uv and not one_disk(ask([self.uv, "cache", "dir"]), self.python):
            os.environ.setdefault("UV_LINK_MODE", "copy")
        if not self.uv:
            say("uv cannot be had; pip installs instead, which takes minutes longer")

    def with_pip(self):
        """Give the environment its own pip, and give its Python."""
        if not quiet([self.python, "-m", "pip", "-V"]) and not quiet(
            [self.python, "-m", "ensurepip"]
        ):
            stop(missing_venv())
        return self.python

    def use_settings(self, pip, version):
        """Read pip's settings and hand them on to what runs from here on."""
        environment = dict(os.environ, PYTHONIOENCODING="utf-8")
        settings = read_settings(ask(pip + ["config", "list"], environment))
        self.settings, variables = uv_settings(settings, version, os.environ)
        self.constraints = settings.get("constraint", "").split()
        os.environ.update(variables)

    def uv_command(self, *arguments):
        """Give the whole command of ``uv pip install``."""
        # Like pip, look for a version in all indexes, not in the first that knows the
        # package. What comes from the wrong one fails its digest.
        command = [self.uv, "pip", "install", "--python", self.python]
        command += ["--no-python-downloads", "--index-strategy", "unsafe-best-match"]
        return command + self.settings + list(arguments)

    def run(self, *arguments, index=None):
        """Install by uv, or by pip where uv fails, and tell whether it succeeded."""
        if self.uv:
            if self.try_once(*arguments, index=index):
                return True
            say("uv could not finish; pip goes on, which takes minutes longer")
            self.uv = None
        return self.try_once(*arguments, index=index)

    def try_once(self, *arguments, index=None):
        """Install by uv, or by pip where there is no uv; tell whether it succeeded."""
        if self.uv:
            if index:
                arguments += ("--default-index", index)
            return self.fits(*arguments) and succeeds(self.uv_command(*arguments))
        if index:
            arguments += ("--index-url", index)
        command = [self.with_pip(), "-m", "pip", "--disable-pip-version-check"]
        return succeeds(command + ["install"] + list(arguments))

    def fits(self, *arguments):
        """Tell whether what uv would install is what pip's constraints allow.

        uv refuses constraints beside digests: it is asked beforehand.
        """
        if not self.constraints or "--require-hashes" not in arguments:
            return True
        rest = [one for one in arguments if one != "--require-hashes"]
        for path in self.constraints:
            rest += ["--constraints", path]
        return succeeds(self.uv_command("--dry-run", "--quiet", *rest))

    def offers(self, name, index=None):
        """Tell whether the indexes have what a lock file names; pip has to try."""
        if not self.uv:
            return True
        more = ("--default-index", index) if index else ()
        return quiet(self.uv_command("--dry-run", *locked(name), *more))

    def require(self, name):
        """Install a lock file, or end."""
        if not self.run(*locked(name)):
            self.stop()

    def stop(self):
        """End with a sentence that says what to do."""
        stop(
            "pip could not finish: the lines above say why. With a connection again, "
            "the same command goes on where it stopped."
        )

    def start_compiling(self):
        """Compile the large packages' bytecode, as pip does with all it installs."""
        if not self.uv:
            return None
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        folder = ask([self.python, "-c", code])
        command = [self.python, "-m", "compileall", "-q", "-j", "0"]
        command += ["-x", r"[\\/]tests?[\\/]"]
        command += [os.path.join(folder, name) for name in COMPILED]
        return subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


def locked(name):
    """Give the arguments that install a lock file and nothing beside it."""
    path = os.path.join(REQUIREMENTS, name + ".txt")
    return ("--require-hashes", "--no-deps", "--requirement", path)


def succeeds(command):
    """Run a command, and tell whether it succeeded."""
    try:
        return subprocess.call(command, cwd=HERE) == 0
    except OSError as error:
        say(str(error))
        return False


def ask(command, environment=None):
    """Give what a command prints, or nothing where it fails."""
    try:
        told = subprocess.check_output(
            command, env=environment, stderr=subprocess.DEVNULL
        )
    except (subprocess.CalledProcessError, OSError):
        return ""
    return told.decode("utf-8", "replace").strip()


def one_disk(first, second):
    """Tell whether two paths, of which not all need exist, lie on one disk."""
    devices = []
    for path in (first, os.path.dirname(second)):
        while path and not os.path.exists(path):
            path = os.path.dirname(path)
        devices.append(os.stat(path or HERE).st_dev)
    return devices[0] == devices[1]


def get_uv(pip, folder):
    """Install uv by its digest into a folder, and give its path; none without it."""
    with open(os.path.join(REQUIREMENTS, "uv.txt"), encoding="utf-8") as stream:
        version = re.search(r"^uv==(\S+)", stream.read(), re.M).group(1)
    path = os.path.join(folder, "bin", "uv.exe" if WINDOWS else "uv")
    if ask([path, "--version"]).split()[1:2] == [version]:
        return path
    shutil.rmtree(folder, ignore_errors=True)
    command = pip + ["install", "--disable-pip-version-check", "-qq", "--no-user"]
    command += ["--target", folder, "--only-binary", ":all:"]
    # Nothing of the Python that runs this changes, so it need not be virtual.
    environment = dict(os.environ, PIP_REQUIRE_VIRTUALENV="0")
    done = subprocess.call(command + list(locked("uv")), cwd=HERE, env=environment) == 0
    return path if done and ask([path, "--version"]) else None


def install_torch(installer):
    """Install torch's CPU build where it can be had, else the package index's own.

    On Linux the latter brings several GB for graphics cards.
    """
    linux = platform.system() == "Linux"
    indexes = [None]
    if linux and reachable(TORCH_CPU_INDEX + "/torch/"):
        indexes.insert(0, TORCH_CPU_INDEX)
    for index in indexes:
        if installer.offers("torch-cpu", index):
            if installer.run(*locked("torch-cpu"), index=index):
                return
    if not linux:
        installer.stop()
    say("there is no CPU build of torch in reach; the other one is larger")
    installer.require("torch-gpu")


def reachable(address):
    """Tell whether an address answers within three seconds."""
    try:
        with urlopen(address, timeout=3):
            return True
    except OSError:
        return False


class Annoy:
    """Compiles annoy, or says what is missing for that."""

    def __init__(self, installer):
        """Begin in the background, while other packages are fetched."""
        self.installer = installer
        self.building = None
        self.folder = None
        if installer.uv and not (self.is_here() or self.missing()):
            self.folder = tempfile.mkdtemp()
            # What it makes lands in uv's cache, too, where `install` finds it.
            self.building = subprocess.Popen(
                installer.uv_command("--target", self.folder, *self.arguments()),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=HERE,
            )

    def is_here(self):
        """Tell whether the environment has annoy."""
        return quiet([self.installer.python, "-c", "import annoy"])

    def arguments(self):
        """Give what installs annoy: what builds it is among the locked, too."""
        return locked("annoy") + ("--no-build-isolation",)

    def missing(self):
        """Name what has to be installed before annoy can be compiled."""
        missing = []
        if WINDOWS:
            finder = r"Microsoft Visual Studio\Installer\vswhere.exe"
            folder = os.environ.get("ProgramFiles(x86)", "")
            if not (shutil.which("cl") or os.path.exists(os.path.join(folder, finder))):
                missing.append("Microsoft's C++ Build Tools")
        elif not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
            missing.append("a C++ compiler (Debian, Ubuntu: g++; Fedora: gcc-c++)")
        header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
        if not os.path.exists(header):
            missing.append(
                f"the Python headers (Debian, Ubuntu: python{VERSION}-dev; Fedora: "
                "python3-devel)"
            )
        return missing

    def install(self):
        """Install annoy, or say that lessons 06 and 07 go without it."""
        if self.building:
            self.building.wait()
        if self.is_here():
            return
        missing = self.missing()
        if not missing and self.installer.try_once(*self.arguments()):
            return
        reason = "the lines above say why"
        if missing:
            reason = "missing: " + " and ".join(missing)
        say(
            f"annoy is not installed ({reason}). Lessons 06 and 07 then use faiss "
            f"alone. To have it, install what is missing, then: {again()}"
        )

    def end(self):
        """Stop what still compiles, and remove what only the cache was to keep."""
        if self.building:
            self.building.terminate()
            self.building.wait()
            shutil.rmtree(self.folder, ignore_errors=True)


def install_proxy():
    """Install JupyterHub's proxy, which is written in JavaScript, below deploy/."""
    npm = shutil.which("npm")
    folder = os.path.join(HERE, "deploy")
    # `ci` installs what package-lock.json names, each file checked against its digest;
    # no package runs a script of its own.
    command = [npm, "ci", "--no-fund", "--ignore-scripts"]
    if not npm or subprocess.call(command, cwd=folder) != 0:
        reason = "the lines above say why"
        if not npm:
            reason = "missing: npm (Debian, Ubuntu: npm)"
        say(
            f"JupyterHub's proxy is not installed ({reason}). To have it, install what "
            "is missing, then: make hub"
        )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        stop("interrupted; the same command goes on where it stopped.")
