#!/usr/bin/env python3
"""What a storm of Docker's events costs: containers that come and go beside many that stay.

    python3 benches/docker_storm.py target/release/plimsoll --containers 2000 --rate 167

Docker is a script that answers what plimsoll asks, and the cgroups of those that stay are a tree in memory. For each
container that comes there are the events create and start, and die and destroy once fifty younger ones have come.
Processor time is what the kernel counts for each thread (`/proc/<pid>/task/<tid>/schedstat`), in spans of five seconds:
before the storm, in it, and after it, with the memory that is resident then (`--rate 0`: of a host where nobody comes
or goes). Behind is how many containers came in the storm that plimsoll never looked at.
"""

import argparse
import asyncio
import json
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

ALIVE = 50
SPAN_S = 5
FILES = {
    "memory.current": "5000000",
    "cpu.stat": "usage_usec 1000000\n",
    "memory.stat": "anon 1\nfile 2\ninactive_file 1024\nkernel 5\nshmem 0\n",
    "memory.max": "67108864",
    "memory.events": "oom_kill 0\n",
    "cpu.max": "max 100000",
}
CONFIG = """global: {{scrape_interval: 5s, evaluation_interval: 5s}}
collector: {{cgroup_root: '{root}/cgroup'}}
docker: {{host: 'unix://{root}/docker.sock'}}
web: {{listen: '127.0.0.1:{port}'}}
storage: {{path: '{root}/state'}}
"""


def container_id(number):
    return f"{number:064x}"


class Docker:
    """A daemon with so many containers."""

    def __init__(self, containers):
        self.alive = {}
        self.asked = set()
        self.readers = set()
        self.newest = containers
        for number in range(containers):
            self.put(number)

    def put(self, number):
        self.alive[container_id(number)] = json.dumps({
            "Id": container_id(number),
            "Name": f"/app-{number}",
            "Created": "2026-01-01T00:00:00Z",
            "State": {"Status": "running", "StartedAt": "2026-01-01T00:00:00Z"},
            "Config": {"Image": "load:1", "Labels": {f"label.{n}": "of some length" for n in range(8)}},
            "HostConfig": {"Memory": 67108864},
        })

    def answer(self, path):
        if path.endswith("/version"):
            return json.dumps({"Version": "20.10", "ApiVersion": "1.41", "MinAPIVersion": "1.12"})
        if path.endswith("/info"):
            return json.dumps({"SystemTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
        if "/containers/json" in path:
            return json.dumps([{"Id": found} for found in self.alive])
        self.asked.add(path.split("/")[-2])
        return self.alive.get(path.split("/")[-2])

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ")[1].decode()
                if "/events" in path:
                    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    self.readers.add(writer)
                    await reader.read(1)
                    return
                body = self.answer(path)
                status = "200 OK" if body else "404 Not Found"
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body or '')}\r\n\r\n{body or ''}".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self.readers.discard(writer)

    def tell(self, number, action):
        actor = {"ID": container_id(number), "Attributes": {"name": f"app-{number}", "exitCode": "0"}}
        event = {"Type": "container", "Action": action, "Actor": actor, "timeNano": time.time_ns()}
        line = (json.dumps(event) + "\n").encode()
        for reader in self.readers:
            reader.write(b"%x\r\n" % len(line) + line + b"\r\n")

    async def storm(self, rate, seconds, first):
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            while self.newest < first + rate * (time.monotonic() - began):
                self.put(self.newest)
                self.tell(self.newest, "create")
                self.tell(self.newest, "start")
                if self.newest - ALIVE >= first:
                    self.tell(self.newest - ALIVE, "die")
                    self.tell(self.newest - ALIVE, "destroy")
                    del self.alive[container_id(self.newest - ALIVE)]
                self.newest += 1
            await asyncio.sleep(0.02)


def processor_ms(pid):
    tasks = pathlib.Path("/proc", str(pid), "task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def resident(pid):
    lines = pathlib.Path("/proc", str(pid), "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1000


async def tell_costs(pid, what, spans):
    for _ in range(spans):
        before = processor_ms(pid)
        await asyncio.sleep(SPAN_S)
        spent = (processor_ms(pid) - before) / SPAN_S / 10
        print(f"{what}: {spent:.2f} % of a core, {resident(pid):.1f} MB resident", flush=True)


async def measure(given, root):
    docker = Docker(given.containers)
    await asyncio.start_unix_server(docker.serve, root / "docker.sock", limit=1 << 20)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = root / "plimsoll.yaml"
    config.write_text(CONFIG.format(root=root, port=port))
    with open(root / "log", "w") as log:
        program = subprocess.Popen([given.binary, "run", "--config", config], stdin=subprocess.DEVNULL, stderr=log)
    try:
        await asyncio.sleep(20)
        await tell_costs(program.pid, "before", 2)
        storm = asyncio.create_task(docker.storm(given.rate, given.spans * SPAN_S, given.containers))
        await tell_costs(program.pid, "storm", given.spans)
        await storm
        came = {container_id(number) for number in range(given.containers, docker.newest)}
        print(f"{len(came)} came, behind by {len(came - docker.asked)}", flush=True)
        await tell_costs(program.pid, "after", 3)
    finally:
        program.send_signal(signal.SIGTERM)
        program.wait()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("binary")
    arguments.add_argument("--containers", type=int, default=2000)
    arguments.add_argument("--rate", type=float, default=167, help="containers that come in a second")
    arguments.add_argument("--spans", type=int, default=6)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        root = pathlib.Path(folder)
        (root / "cgroup").mkdir()
        (root / "cgroup/cgroup.controllers").write_text("cpu memory\n")
        for number in range(given.containers):
            cgroup = root / "cgroup/docker" / container_id(number)
            cgroup.mkdir(parents=True)
            for name, text in FILES.items():
                (cgroup / name).write_text(text)
        asyncio.run(measure(given, root))


main()
