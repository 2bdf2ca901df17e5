"""A Docker of our own: a daemon in a folder, over a Unix socket, that can be killed, hung and cleaned up after.

It needs root, and nothing but `dockerd` and a C compiler: the image is one static program, imported as a tar archive.
"""

import contextlib
import http.client
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import tarfile
import time

IMAGE = "load"
ANSWERS_S = 60
# What containerd of the daemon that died still holds is free by then; a daemon that is quicker starts none of its own.
REST_S = 3


class Refused(Exception):
    """Docker says no, or nothing."""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("docker", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Docker:
    """The daemon and its API."""

    def __init__(self, folder):
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.process = None
        self.options = []
        self.containers = set()
        # From when to when it was dead; of now, from when.
        self.deaths = []

    def start(self, live_restore=False):
        self.options = ["--live-restore"] if live_restore else []
        self.spawn()

    def spawn(self):
        path = self.folder
        path.joinpath("docker.pid").unlink(missing_ok=True)
        command = ["dockerd", "--host", f"unix://{self.socket}", "--data-root", path / "data", "--exec-root", path / "exec"]
        command += ["--pidfile", path / "docker.pid", "--storage-driver=vfs", "--bridge=none"]
        command += ["--iptables=false", "--ip6tables=false", *self.options]
        with open(path / "docker.log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.wait_until_it_answers()
        if self.deaths:
            self.deaths[-1][1] = time.time()

    def wait_until_it_answers(self):
        until = time.monotonic() + ANSWERS_S
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(Refused):
                self.ask("GET", "/_ping", timeout=3)
                return
            time.sleep(0.05)
        raise Refused(f"dockerd does not answer: {self.folder / 'docker.log'}")

    def ask(self, method, path, body=None, timeout=30):
        """What Docker answers, from JSON if it is some; bytes are sent as they are."""
        connection = UnixConnection(self.socket, timeout)
        kind = "application/x-tar" if isinstance(body, bytes) else "application/json"
        text = body if isinstance(body, bytes | None) else json.dumps(body)
        try:
            connection.request(method, path, text, {"Content-Type": kind})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise Refused(f"{method} {path}: {answer.status} {said.decode(errors='replace').strip()}")
        return json.loads(said) if said.startswith((b"{", b"[")) and b"\n{" not in said else said

    def import_image(self, source):
        """Makes the image from C, from scratch."""
        program = self.folder / "load"
        subprocess.run(["cc", "-static", "-O1", "-Wall", "-Wextra", "-Werror", source, "-o", program], check=True)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(program, arcname="load")
        entry = "ENTRYPOINT%20%5B%22/load%22%5D"
        self.ask("POST", f"/images/create?fromSrc=-&repo={IMAGE}&changes={entry}", archive.getvalue())

    def create(self, name, body):
        """The container's id."""
        id = self.ask("POST", f"/containers/create?name={name}", body)["Id"]
        self.containers.add(id)
        return id

    def die(self):
        """As by `kill -9`; its containers live on until the next one looks at them."""
        self.process.kill()
        self.process.wait()
        self.deaths.append([time.time(), float("inf")])

    def rest(self, extra_s=0.0):
        """Until containerd of the daemon that died is gone, too."""
        time.sleep(REST_S + extra_s)
        until = time.monotonic() + 20
        while self.processes("containerd") and time.monotonic() < until:
            time.sleep(0.1)

    def hang(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def recover(self):
        """Whatever a scenario that broke off has left."""
        self.go_on()
        if self.process.poll() is not None:
            self.rest()
            self.spawn()

    def remove_containers(self):
        for container in self.ask("GET", "/containers/json?all=1"):
            with contextlib.suppress(Refused):
                self.ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")

    def processes(self, program):
        """Ids of the processes of that program that name our folder."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = entry.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
                if pathlib.Path(words[0]).name == program and any(str(self.folder) in word for word in words):
                    found.append(int(entry.name))
        return found

    def stop(self):
        """Ends the daemon, by force where it will not, and what is left of it."""
        if self.process is None:
            return
        with contextlib.suppress(Refused):
            self.recover()
            self.remove_containers()
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(40)
        self.die()
        for program in ["containerd", "containerd-shim-runc-v2"]:
            for process in self.processes(program):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        self.remove_cgroups()
        self.unmount()

    def remove_cgroups(self):
        """Of containers whose start a daemon's death broke off: no other daemon knows of them."""
        for folder, cgroups, _ in os.walk("/sys/fs/cgroup", topdown=False):
            for cgroup in self.containers.intersection(cgroups):
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.join(folder, cgroup))

    def unmount(self):
        mounts = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", "--lazy", mount], check=False)
