"""A class on one server: ``jupyterhub -f deploy/jupyterhub_config.py``, as root.

README.md beside this file says what to do first. Each setting below can be given as
an environment variable of the same name; nothing here needs to be edited.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode, urlsplit

HERE = Path(__file__).resolve().parent


def setting(name: str, default: str) -> str:
    """Read one setting; an empty variable is as good as none."""
    return os.environ.get(name) or default


# The Unix group whose members may log in, with the password of their account.
CLASS_GROUP = setting("CLASS_GROUP", "students")
# MB of data that one process of a student may hold. A lesson of 2 GB in memory counts
# as up to 3 GB here: the limit counts what a process reserved, touched or not.
CLASS_MEMORY_MB = int(setting("CLASS_MEMORY_MB", "4096"))
# A server at which nothing ran and nobody looked for so long is stopped.
CLASS_IDLE_MINUTES = float(setting("CLASS_IDLE_MINUTES", "60"))
# What `course data` fetched, readable for all, writable for none of the students.
CLASS_DATA = setting("CLASS_DATA", "/srv/course/data")
# A git repository with the lessons: a folder of this machine, or an address.
CLASS_LESSONS = setting("CLASS_LESSONS", "/srv/course/lessons")
CLASS_BRANCH = setting("CLASS_BRANCH", "main")
# What JupyterHub keeps: who is logged in, and the key that signs cookies.
CLASS_STATE = Path(setting("CLASS_STATE", "/srv/course/state"))
# The account that serves that folder: it can read the lessons and write nothing.
CLASS_GIT_USER = setting("CLASS_GIT_USER", "nobody")
# Where browsers come in. Passwords travel here: leave it to this machine alone, with a
# web server that speaks TLS in front, or name a certificate and its key.
CLASS_ADDRESS = setting("CLASS_ADDRESS", "http://127.0.0.1:8000")
CLASS_CERTIFICATE = setting("CLASS_CERTIFICATE", "")
CLASS_KEY = setting("CLASS_KEY", "")
# The address that browsers show, such as https://class.example.org.
CLASS_DOMAIN = setting("CLASS_DOMAIN", "").rstrip("/")
# "yes": passwords may cross the network as plain text.
CLASS_ALLOW_HTTP = setting("CLASS_ALLOW_HTTP", "no")
# Ports of this machine that nobody outside needs.
CLASS_HUB_PORT = int(setting("CLASS_HUB_PORT", "8081"))
CLASS_PROXY_PORT = int(setting("CLASS_PROXY_PORT", "8001"))
CLASS_GIT_PORT = int(setting("CLASS_GIT_PORT", "9418"))

c = get_config()  # noqa: F821

CHECKOUT = HERE.parent
SET_UP = "`CLASS_ENVIRONMENT=/srv/course/env make hub PYTHON=/usr/bin/python3`"

# A student's server runs this same Python, and must be able to read it.
for place in (Path(sys.executable).absolute(), Path(sys.executable).resolve()):
    for folder in place.parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            sys.exit(
                f"Students cannot start {place}: {folder} is closed to them. Set the "
                f"course up where everybody may read it, for instance with {SET_UP}."
            )

# Group bits count: access lists show there, and a group may hold students.
if all(f.stat().st_mode & 0o011 for f in (CHECKOUT, *CHECKOUT.parents)):
    sys.exit(
        f"Students can read the solutions in {CHECKOUT}: run `chmod 700 {CHECKOUT}`."
    )
package = importlib.util.find_spec("course_utils")
if package is None or CHECKOUT in Path(package.origin).resolve().parents:
    sys.exit(
        f"Students cannot import course_utils from {CHECKOUT}, which is closed to "
        f"them: install a copy with {SET_UP}, and start the hub from there."
    )


def is_local(address: str) -> bool:
    """Whether only this machine reaches an address."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme == "http+unix":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


if CLASS_DOMAIN and "://" not in CLASS_DOMAIN:
    CLASS_DOMAIN = f"https://{CLASS_DOMAIN}"
plain = [] if CLASS_CERTIFICATE else [("CLASS_ADDRESS", CLASS_ADDRESS)]
if urlsplit(CLASS_DOMAIN).scheme == "http":
    plain.append(("CLASS_DOMAIN", CLASS_DOMAIN))
for name, address in plain:
    if not is_local(address) and CLASS_ALLOW_HTTP != "yes":
        sys.exit(
            f"{name}={address} sends passwords over the network without TLS: name a "
            "CLASS_CERTIFICATE and its CLASS_KEY, leave CLASS_ADDRESS to this machine "
            "behind a web server that speaks TLS, or set CLASS_ALLOW_HTTP=yes."
        )
for name, path in (("CLASS_CERTIFICATE", CLASS_CERTIFICATE), ("CLASS_KEY", CLASS_KEY)):
    if path and not Path(path).is_file():
        sys.exit(f"{name}={path} is no file.")

CLASS_STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
CLASS_STATE.chmod(0o700)
c.JupyterHub.db_url = f"sqlite:///{CLASS_STATE}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = str(CLASS_STATE / "cookie_secret")
c.ConfigurableHTTPProxy.pid_file = str(CLASS_STATE / "proxy.pid")

c.JupyterHub.bind_url = CLASS_ADDRESS
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{CLASS_HUB_PORT}"
c.JupyterHub.ssl_cert = CLASS_CERTIFICATE
c.JupyterHub.ssl_key = CLASS_KEY
proxy = HERE / "node_modules" / ".bin" / "configurable-http-proxy"
c.ConfigurableHTTPProxy.command = [
    str(proxy) if proxy.exists() else "configurable-http-proxy"
]


def names_of_certificate() -> set[str]:
    """Names that the certificate of CLASS_ADDRESS holds for."""
    from cryptography import x509

    held = x509.load_pem_x509_certificate(Path(CLASS_CERTIFICATE).read_bytes())
    try:
        names = held.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return set(names.value.get_values_for_type(x509.DNSName))


def no_domains() -> str:
    """Say why students have no domains of their own; empty where they can."""
    if not CLASS_DOMAIN:
        return "CLASS_DOMAIN is not set"
    host = urlsplit(CLASS_DOMAIN).hostname
    for name in (host, f"any-student.{host}"):
        try:
            socket.getaddrinfo(name, None)
        except OSError:
            return f"{name} does not resolve; add a record for *.{host} to your DNS"
    if CLASS_CERTIFICATE and f"*.{host}" not in names_of_certificate():
        return f"{CLASS_CERTIFICATE} is not valid for *.{host}"
    return ""


def no_internal_tls() -> str:
    """Say why hub, proxy and servers speak without TLS; empty where they can."""
    if not CLASS_DOMAIN:
        # The proxy compares a certificate with the name that the browser asked for.
        return "CLASS_DOMAIN is not set"
    if importlib.util.find_spec("certipy") is None:
        return "the package certipy is not installed"
    (command,) = c.ConfigurableHTTPProxy.command
    try:
        asked = subprocess.run([command, "--help"], capture_output=True, text=True)
    except OSError as error:
        return f"{command} does not run ({error.strerror})"
    if "--client-ssl-ca" not in asked.stdout:
        return f"{command} does not know --client-ssl-ca"
    return ""


# With a domain each, the browser itself keeps one student's pages from another's.
if reason := no_domains():
    print(f"No domain for each student: {reason}.", file=sys.stderr)
else:
    c.JupyterHub.subdomain_host = CLASS_DOMAIN
    # Or a student's server could set a cookie for the hub's domain.
    c.JupyterHub.cookie_host_prefix_enabled = urlsplit(CLASS_DOMAIN).scheme == "https"

INTERNAL = CLASS_STATE / "internal-tls"
reason = no_internal_tls()
internal = not reason
scheme = "https" if internal else "http"
c.ConfigurableHTTPProxy.api_url = f"{scheme}://127.0.0.1:{CLASS_PROXY_PORT}"
if not internal:
    print(f"No TLS between hub, proxy and servers: {reason}.", file=sys.stderr)
    c.JupyterHub.spawner_class = "localprocess"
else:
    from jupyterhub.spawner import LocalProcessSpawner

    c.JupyterHub.internal_ssl = True
    c.JupyterHub.internal_certs_location = str(INTERNAL)
    # They name the domain, which may be another than last time.
    c.JupyterHub.recreate_internal_certs = True
    c.JupyterHub.trusted_alt_names = [f"DNS:{urlsplit(CLASS_DOMAIN).hostname}"]
    handed = Path(f"{CLASS_STATE}-tls")
    handed.mkdir(mode=0o711, exist_ok=True)
    handed.chmod(0o711)

    class ClassSpawner(LocalProcessSpawner):
        """Hands a student's certificate out in a folder of root.

        JupyterHub would write it into the student's home, as root, and would change
        the owner of whatever a link there points to.
        """

        async def move_certs(self, paths):
            """Copy key, certificate and authority, readable for the student alone."""
            account = pwd.getpwnam(self.user.name)
            folder = handed / account.pw_name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            moved = {}
            for name, path in paths.items():
                moved[name] = shutil.copy(path, folder)
                os.chown(moved[name], account.pw_uid, account.pw_gid)
                os.chmod(moved[name], 0o400)
            folder.chmod(0o711)
            return moved

    c.JupyterHub.spawner_class = ClassSpawner

# Accounts of the machine. Root and the accounts of services are in no such group.
c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.allowed_groups = {CLASS_GROUP}
# An administrator of JupyterHub could read every student's notebook; nobody is one.
c.Authenticator.admin_users = set()

# The limit holds for each process: a kernel that asks for more gets a MemoryError, and
# nobody else notices. It does not hold for the sum of several kernels. Where systemd
# runs the machine, systemdspawner limits that sum; it was not tried here.
c.Spawner.cmd = [
    shutil.which("prlimit") or "/usr/bin/prlimit",
    f"--data={CLASS_MEMORY_MB * 2**20}",
    sys.executable,
    "-m",
    "jupyterhub.singleuser",
]
c.Spawner.args = ["--ServerApp.jpserver_extensions=course_tools.work.server=True"]
# What a student writes, nobody else reads, whatever the mode of the home.
c.LocalProcessSpawner.popen_kwargs = {"umask": 0o077}
# As course_tools/lab_settings.py sets it for `course lab`.
layer = Path(package.origin).parents[1] / "course_tools" / "jupyter"
c.Spawner.environment = {
    "COURSE_DATA_SHARED": CLASS_DATA,
    "JUPYTER_CONFIG_PATH": str(layer / "config"),
    "JUPYTER_PATH": str(layer / "share"),
    # NumPy and SciPy reserve 80 MB a thread when they load, one thread a core: on a
    # large machine more than a kernel may hold. Lessons compute on one anyway.
    "OPENBLAS_NUM_THREADS": "1",
    # glibc's malloc makes a heap for each of TensorFlow's threads, up to eight a core,
    # and each keeps what was freed in it: 50 MB in lesson 01. It has to be told before
    # the kernel starts.
    "MALLOC_ARENA_MAX": "2",
}
# Thirty start at nine o'clock, on few cores.
c.Spawner.start_timeout = 300
c.Spawner.http_timeout = 300

services = []
roles = []


def as_reader(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the account that serves the lessons."""
    return subprocess.run(
        command,
        user=CLASS_GIT_USER,
        group=pwd.getpwnam(CLASS_GIT_USER).pw_gid,
        extra_groups=[],
        cwd="/",
        env={**os.environ, **ANY_OWNER},
        capture_output=True,
        text=True,
    )


def check_reader(repository: Path) -> None:
    """Stop unless the lessons are served by an account that can only read them."""
    try:
        uid = pwd.getpwnam(CLASS_GIT_USER).pw_uid
    except KeyError:
        sys.exit(f"CLASS_GIT_USER={CLASS_GIT_USER} is no account of this machine.")
    if uid == 0:
        sys.exit("CLASS_GIT_USER must not be root: name an account without rights.")
    wrong = ("(", "-user", CLASS_GIT_USER, "-o", "-writable", "-o", "!", "-readable")
    found = as_reader(
        "find", str(repository), "!", "-type", "l", *wrong, ")", "-print", "-quit"
    )
    if found.stdout or found.returncode:
        sys.exit(
            f"{CLASS_GIT_USER} must be able to read and not to write the lessons, "
            f"which {(found.stdout or found.stderr).strip()} is not: run `chown -R "
            f"root {repository}` and `chmod -R a+rX,go-w {repository}`."
        )
    git = ("git", "-C", str(repository))
    if as_reader(*git, "rev-parse", "--verify", CLASS_BRANCH).returncode:
        sys.exit(
            f"{repository} has no branch {CLASS_BRANCH}: commit the lessons to it."
        )
    solved = (":(glob)**/solutions/**", ":(glob)**/tests/answers/**")
    if as_reader(*git, "log", "--all", "-1", "--format=%h", "--", *solved).stdout:
        sys.exit(
            f"{repository} holds solutions, if only in an old commit, and every "
            "student would get them: make a new repository of notebooks/ alone."
        )


# nbgitpuller brings the lessons at every start and keeps what a student changed.
# Git refuses a folder that belongs to somebody else; asked over the network, it is
# another account that reads, and that one trusts the folder it is given.
ANY_OWNER = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}
lessons = Path(CLASS_LESSONS)
if lessons.is_dir():
    repository = lessons.resolve()
    if (repository / ".git").is_dir():
        repository /= ".git"
    # Only root can become another account; JupyterHub says so where it is not root.
    if os.geteuid() == 0:
        check_reader(repository)
    # Itself, because a `git` that starts it can end without it.
    programs = subprocess.run(["git", "--exec-path"], capture_output=True, text=True)
    daemon = shutil.which("git-daemon", path=programs.stdout.strip())
    if daemon is None:
        sys.exit("git-daemon is missing (Fedora: git-daemon); install it.")
    served = repository.relative_to(lessons.resolve().parent)
    address = f"git://127.0.0.1:{CLASS_GIT_PORT}/{served}"
    services.append(
        {
            "name": "lessons",
            "user": CLASS_GIT_USER,
            "cwd": "/",
            "environment": ANY_OWNER,
            "command": [
                daemon,
                "--listen=127.0.0.1",
                f"--port={CLASS_GIT_PORT}",
                f"--base-path={lessons.resolve().parent}",
                "--export-all",
                "--strict-paths",
                str(repository),
            ],
        }
    )
else:
    address = CLASS_LESSONS
c.Spawner.default_url = "/git-pull?" + urlencode(
    {
        "repo": address,
        "branch": CLASS_BRANCH,
        "targetpath": "embeddings-course",
        # Then the student's own copies, brought up to date: course_tools/work.
        "urlpath": "course/work/embeddings-course",
    }
)

idle = CLASS_IDLE_MINUTES * 60
services.append(
    {
        "name": "cull-idle",
        "cwd": "/",
        "command": [
            sys.executable,
            "-m",
            "jupyterhub_idle_culler",
            f"--timeout={idle:.0f}",
            f"--cull-every={max(1, min(300, idle / 2)):.0f}",
            f"--ssl-enabled={internal}",
            f"--internal-certs-location={INTERNAL}",
        ],
    }
)
roles.append(
    {
        "name": "cull-idle",
        "services": ["cull-idle"],
        # The least that the culler's own documentation names.
        "scopes": [
            "list:users",
            "read:users:activity",
            "read:servers",
            "delete:servers",
        ],
    }
)
c.JupyterHub.services = services
c.JupyterHub.load_roles = roles
