"""Two plimsolls side by side over the same Docker: one that collects each second, one each five."""

import collections
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request

INTERVALS_S = [1, 5]
CONFIG = """global: {{scrape_interval: 5s, scrape_timeout: 4s, evaluation_interval: 1s}}
collector: {{interval: {interval_s}s}}
docker: {{host: 'unix://{socket}'}}
host: hostile
web: {{listen: '127.0.0.1:{port}'}}
storage: {{path: '{folder}/state'}}
window: {{keep: ['plimsoll_.*']}}
"""
# What a container that is gone counted is not written on for ever; no scenario takes longer.
LOOK_BACK = "50m"


class Plimsoll:
    def __init__(self, binary, folder, docker_socket, interval_s):
        self.binary = binary
        self.folder = folder
        self.interval_s = interval_s
        self.process = None
        folder.mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        config = CONFIG.format(interval_s=interval_s, socket=docker_socket, port=self.port, folder=folder)
        (folder / "plimsoll.yaml").write_text(config)

    def start(self):
        with open(self.folder / "log", "ab") as log:
            command = [self.binary, "run", "--config", self.folder / "plimsoll.yaml"]
            environment = dict(os.environ, NO_COLOR="1")
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def page(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def wait_until_it_hears_docker(self):
        until = time.monotonic() + 30
        while "plimsoll_docker_up 1" not in self.page("/metrics") and time.monotonic() < until:
            time.sleep(0.1)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def count(self, metric, label):
        """A counter's value by container and that label."""
        query = urllib.parse.quote(f"last_over_time({metric}[{LOOK_BACK}])")
        found = collections.Counter()
        for series in json.loads(self.page(f"/api/v1/query?query={query}"))["data"]["result"]:
            labels = series["metric"]
            found[labels["container"], labels[label]] += round(float(series["value"][1]))
        return found

    def kills(self):
        return self.count("plimsoll_oom_total", "scope")

    def ends(self):
        return self.count("plimsoll_container_ends_total", "reason")


class Pair:
    """Both of them; what is done to one is done to the other."""

    def __init__(self, binary, folder, docker_socket):
        self.members = [Plimsoll(binary, folder / f"{seconds}s", docker_socket, seconds) for seconds in INTERVALS_S]

    def start(self, waits=True):
        for member in self.members:
            member.start()
        for member in self.members if waits else []:
            member.wait_until_it_hears_docker()

    def is_running(self):
        return all(member.is_running() for member in self.members)

    def send(self, number):
        for member in self.members:
            member.process.send_signal(number)

    def end(self, number):
        running = [member for member in self.members if member.is_running()]
        for member in running:
            member.process.send_signal(number)
        for member in running:
            member.process.wait(30)

    def die(self):
        """As by `kill -9`."""
        self.end(signal.SIGKILL)

    def restart(self, pause_s=0.0, waits=False):
        self.die()
        time.sleep(pause_s)
        self.start(waits)

    def stop(self):
        self.end(signal.SIGTERM)

    def forget(self):
        """The next start is the first one."""
        for member in self.members:
            shutil.rmtree(member.folder / "state")
