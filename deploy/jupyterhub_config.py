"""A class on one server: ``jupyterhub -f deploy/jupyterhub_config.py``, as root.

README.md beside this file says what to do first. Each setting below can be given as
an environment variable of the same name; nothing here needs to be edited.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path
from urllib.parse import urlencode

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
# Where browsers come in. Passwords travel here: leave it to this machine alone, with a
# web server that speaks TLS in front, or name a certificate and its key.
CLASS_ADDRESS = setting("CLASS_ADDRESS", "http://127.0.0.1:8000")
CLASS_CERTIFICATE = setting("CLASS_CERTIFICATE", "")
CLASS_KEY = setting("CLASS_KEY", "")
# Ports of this machine that nobody outside needs.
CLASS_HUB_PORT = int(setting("CLASS_HUB_PORT", "8081"))
CLASS_PROXY_PORT = int(setting("CLASS_PROXY_PORT", "8001"))
CLASS_GIT_PORT = int(setting("CLASS_GIT_PORT", "9418"))

c = get_config()  # noqa: F821

# A student's server runs this same Python, and must be able to read it.
for place in (Path(sys.executable).absolute(), Path(sys.executable).resolve()):
    for folder in place.parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            sys.exit(
                f"Students cannot start {place}: {folder} is closed to them. Set the "
                "course up with a Python that everybody may read, for instance "
                "`make hub PYTHON=/usr/bin/python3`, in a folder such as /srv/course."
            )

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
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{CLASS_PROXY_PORT}"

# Accounts of the machine. Root and the accounts of services are in no such group.
c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.allowed_groups = {CLASS_GROUP}
# An administrator of JupyterHub could read every student's notebook; nobody is one.
c.Authenticator.admin_users = set()

c.JupyterHub.spawner_class = "localprocess"
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
# What a student writes, nobody else reads, whatever the mode of the home.
c.LocalProcessSpawner.popen_kwargs = {"umask": 0o077}
c.Spawner.environment = {
    "COURSE_DATA_SHARED": CLASS_DATA,
    # NumPy and SciPy reserve 80 MB a thread when they load, one thread a core: on a
    # large machine more than a kernel may hold. Lessons compute on one anyway.
    "OPENBLAS_NUM_THREADS": "1",
}
# Thirty start at nine o'clock, on few cores.
c.Spawner.start_timeout = 300
c.Spawner.http_timeout = 300

services = []
roles = []

# nbgitpuller brings the lessons at every start and keeps what a student changed.
lessons = Path(CLASS_LESSONS)
if lessons.is_dir():
    # Git refuses a folder that belongs to somebody else; asked over the network, it
    # is the folder's owner who reads.
    repository = lessons.resolve()
    if (repository / ".git").is_dir():
        repository /= ".git"
    served = repository.relative_to(lessons.resolve().parent)
    address = f"git://127.0.0.1:{CLASS_GIT_PORT}/{served}"
    services.append(
        {
            "name": "lessons",
            "user": lessons.owner(),
            "command": [
                "git",
                "daemon",
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
        "urlpath": "lab/tree/embeddings-course/notebooks",
    }
)

idle = CLASS_IDLE_MINUTES * 60
services.append(
    {
        "name": "cull-idle",
        "command": [
            sys.executable,
            "-m",
            "jupyterhub_idle_culler",
            f"--timeout={idle:.0f}",
            f"--cull-every={max(1, min(300, idle / 2)):.0f}",
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
