"""A MONAI Label server that runs for the length of a ``with``, and what a client asks of it."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.clients.environment import call, monai_label_python

ROOT = Path(__file__).resolve().parents[2]

START = 240.0
"""Seconds that a server may take to answer."""

DIRECT = {"http": ""}
"""No proxy stands between this process and its child."""

APPS = {
    "monaibundle": ("--conf", "models", "{bundle}"),
    "radiology": (
        *("--conf", "models", "segmentation_spleen", "--conf", "use_pretrained_model", "false"),
        *("--conf", "bundles", "{bundle}"),
    ),
}
"""What each app has to be told; the radiology app insists on one model of its own."""


class Server:
    """What a client asks of a running server.

    Args:
        address: Its URL.
        bundle: The copy of the bundle that it serves.
        log: File of all that it says.
    """

    def __init__(self, address: str, bundle: Path, log: Path) -> None:
        self.address = address
        self.bundle = bundle
        self.log = log
        self.session = requests.Session()
        self.session.headers["Connection"] = "close"  # the server drops one kept after an error

    def get(self, path: str) -> dict[str, Any]:
        return self._json(self.session.get(f"{self.address}{path}", timeout=60, proxies=DIRECT))

    def post(self, path: str, **content: Any) -> dict[str, Any]:
        return self._json(
            self.session.post(f"{self.address}{path}", json=content, timeout=60, proxies=DIRECT)
        )

    def infer(self, case: str, mask: Path, **options: Any) -> Path:
        """Ask for the mask of a case of the study, and keep it as a file."""
        answer = self.session.post(
            f"{self.address}/infer/{self.bundle.name}",
            params={"image": case, "output": "image"},
            json=options,
            timeout=600,
            proxies=DIRECT,
        )
        assert answer.ok, f"{answer.status_code} {answer.text}\n{self.tail()}"
        mask.parent.mkdir(parents=True, exist_ok=True)
        mask.write_bytes(answer.content)
        return mask

    def train(self, seconds: float = 900.0, **options: Any) -> dict[str, Any]:
        """Train as 3D Slicer would, with every option that `/info/` offers; wait for the end."""
        offered = self.get("/info/")["trainers"][self.bundle.name]["config"]
        chosen = {key: first_of(value) for key, value in offered.items()}
        self.post(f"/train/{self.bundle.name}", **{**chosen, **options})
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            task = self.get("/train/")
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                return task
            time.sleep(1)
        raise TimeoutError(f"training took more than {seconds} s\n{self.tail()}")

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-6000:]

    def _json(self, answer: requests.Response) -> dict[str, Any]:
        assert answer.ok, f"{answer.status_code} {answer.text}\n{self.tail()}"
        content: dict[str, Any] = answer.json()
        return content


def first_of(offered: Any) -> Any:
    """Give what 3D Slicer sends if nobody touches an option: the first entry of a choice."""
    return (offered or [""])[0] if isinstance(offered, list) else offered


@contextmanager
def serving(bundle: Path, study: Path, app: str, folder: Path) -> Iterator[Server]:
    """Serve a copy of a bundle and stop the server afterwards.

    Args:
        bundle: The bundle; nothing is written into it.
        study: Folder of the images, into which the server writes.
        app: ``monaibundle`` or ``radiology``.
        folder: An empty folder to work in.

    Yields:
        The server, answering.
    """
    python = monai_label_python()
    main = (str(python), "-m", "monailabel.main")
    call(*main, "apps", "--download", "--name", app, "--output", str(folder))
    copy = folder / app / "model" / bundle.name
    shutil.copytree(bundle, copy)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(*main, "start_server", "--app", str(folder / app), "--studies", str(study)),
        *("--host", "127.0.0.1", "--port", str(port)),
        *(word.format(bundle=bundle.name) for word in APPS[app]),
        *("--conf", "zoo_source", "local", "--conf", "sam2", "false"),
    ]
    log = folder / "server.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment(python, folder),
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}", copy, log)
    try:
        wait(server, process)
        yield server
    finally:
        stop(process)


def environment(python: Path, folder: Path) -> dict[str, str]:
    """Give the server its own programs, volseg of this checkout and folders of its own."""
    (folder / "tmp").mkdir()
    return {
        **os.environ,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(folder / "tmp"),
        "MONAI_LABEL_SESSION_PATH": str(folder / "sessions"),
        "OMP_NUM_THREADS": "1",
    }


def wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end:
        assert process.poll() is None, f"the server ended\n{server.tail()}"
        try:
            server.get("/info/")
        except requests.ConnectionError:
            time.sleep(0.5)
        else:
            return
    raise TimeoutError(f"the server did not answer within {START} s\n{server.tail()}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server with all that it started: a training is a process of its own."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
            process.wait(timeout=15)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
