#!/usr/bin/env python3
"""What plimsoll's own eyes cost: the real program over real cgroups of version 1, or over a tree in memory.

    python3 benches/own_eyes.py target/release/plimsoll --containers 500            real cgroups, made and removed; as root
    python3 benches/own_eyes.py target/release/plimsoll --busy 50 --containers 500    of them so many with a process that works
    python3 benches/own_eyes.py target/release/plimsoll --tree --containers 500       a tree of version 2 in memory that it makes
    python3 benches/own_eyes.py target/release/plimsoll --root /dev/shm/tree --containers 500    a tree that is there
    python3 benches/own_eyes.py target/release/plimsoll --peaks --containers 500      without and with samples of memory in between
    python3 benches/own_eyes.py target/release/plimsoll --tree --reader --containers 500    without and with a reader of /metrics/containers

The reader takes the page each five seconds, in gzip as Prometheus does.

Several programs are measured one after the other on the same cgroups. A busy container's process wakes every second,
computes for a millisecond and touches a page more; the others are empty, which is the least a container can do. In a tree in
memory its figures grow by as much. Processor time is what the kernel counts for each thread (`/proc/<pid>/task/<tid>/schedstat`), so it is true on a busy
machine; caches that others have emptied still make it dearer. One figure is five seconds: a collection, and the rules.
The cgroups lie deeper than any collector looks, so that no other plimsoll on this machine takes them for containers; a
mount makes their paths as short as a real host's, because opening a file costs by the length of its path.
"""

import argparse
import gzip
import hashlib
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request

HIERARCHIES = ["memory", "cpu", "cpuacct", "blkio"]
BASE = pathlib.Path(f"plimsoll-bench-{os.getpid()}", *[str(depth) for depth in range(13)])
CONFIG = """collector: {{cgroup_root: '{root}'}}
global: {{scrape_interval: 5s, evaluation_interval: 5s}}
web: {{listen: '127.0.0.1:{port}'}}
storage: {{path: '{state}'}}
"""
# What a container's files say in a tree in memory; of memory.stat half of what a kernel writes.
FILES = {
    "memory.current": "50000000\n",
    "memory.peak": "60000000\n",
    "memory.max": "67108864\n",
    "memory.low": "33554432\n",
    "memory.swap.max": "0\n",
    "memory.swap.current": "0\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 0\noom_kill 0\noom_group_kill 0\n",
    "memory.stat": "anon 30000000\nfile 20000000\nkernel 471040\nkernel_stack 49152\npagetables 61440\npercpu 1152\nsock 0\n"
    "shmem 4096\nfile_mapped 8192\nfile_dirty 0\nfile_writeback 0\ninactive_anon 5\nactive_anon 6\ninactive_file 10000000\n"
    "active_file 180224\nunevictable 0\nslab 3\nworkingset_refault_file 195\npgscan 0\npgsteal 0\npgfault 1911\npgmajfault 1\n",
    "cpu.stat": "usage_usec 28363645\nuser_usec 18363645\nsystem_usec 10000000\nnr_periods 960\nnr_throttled 95\n"
    "throttled_usec 1724314\n",
    "cpu.max": "50000 100000\n",
    "cpu.weight": "39\n",
    "cgroup.events": "populated 1\nfrozen 0\n",
}
# Whoever reads the peaks has them sampled.
PEAKS = "window: {keep: [plimsoll_container_memory_peak_bytes]}\n"


def make(containers, view):
    """Cgroups with limits and a quota, and a folder that shows their hierarchies as the host's would be shown."""
    for hierarchy in HIERARCHIES:
        top = pathlib.Path("/sys/fs/cgroup", hierarchy, BASE)
        for number in range(containers):
            (top / "docker" / hashlib.sha256(str(number).encode()).hexdigest()).mkdir(parents=True, exist_ok=True)
        (view / hierarchy).mkdir()
        subprocess.run(["mount", "--bind", top, view / hierarchy], check=True)
    for number, folder in enumerate(sorted((view / "memory/docker").iterdir())):
        if folder.is_dir():
            (folder / "memory.limit_in_bytes").write_text(str(64 + number % 512 << 20))
            (folder / "memory.soft_limit_in_bytes").write_text(str(32 + number % 512 << 20))
            (view / "cpu/docker" / folder.name / "cpu.cfs_quota_us").write_text("50000")


def busy(view, containers):
    """Puts a process into so many cgroups, spread evenly over those there are."""
    folders = sorted((view / "memory/docker").iterdir())
    folders = [folder.name for folder in folders if folder.is_dir()]
    return [work(view, folders[number * len(folders) // containers]) for number in range(containers)]


def work(view, name):
    child = os.fork()
    if child:
        return child
    try:
        for hierarchy in HIERARCHIES:
            (view / hierarchy / "docker" / name / "cgroup.procs").write_text(str(os.getpid()))
        pages = []
        while True:
            until = time.thread_time() + 0.001
            while time.thread_time() < until:
                pass
            pages.append(bytearray(b"x" * 4096))
            time.sleep(1)
    finally:
        os._exit(1)


def plant(root, containers):
    """A tree of version 2 as a host's would be."""
    (root / "cgroup.controllers").write_text("cpu io memory pids\n")
    for number in range(containers):
        folder = root / "docker" / hashlib.sha256(str(number).encode()).hexdigest()
        folder.mkdir(parents=True)
        for name, text in FILES.items():
            (folder / name).write_text(text)


def write(path, text):
    """Over what stands there, so that nobody finds the file empty."""
    with open(path, "r+") as file:
        file.write(text)


def stir(root, containers):
    """Lets so many containers of a tree in memory seem to work, in a process of its own."""
    child = os.fork()
    if child:
        return [child]
    folders = sorted((root / "docker").iterdir())[:containers]
    try:
        for second in range(1, 1_000_000):
            for folder in folders:
                write(folder / "memory.current", f"{50_000_000 + 4096 * second}\n")
                write(folder / "cpu.stat", FILES["cpu.stat"].replace("28363645", str(28363645 + 1000 * second)))
            time.sleep(1)
    finally:
        os._exit(1)


def end(children):
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def remove(view):
    for hierarchy in HIERARCHIES:
        subprocess.run(["umount", view / hierarchy], check=True)
        top = pathlib.Path("/sys/fs/cgroup", hierarchy, BASE.parts[0])
        for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
            folder.rmdir()
        if top.is_dir():
            top.rmdir()


def processor_ms(pid):
    """Of the thread `collector`, and of all others."""
    collector = others = 0.0
    for task in pathlib.Path("/proc", str(pid), "task").iterdir():
        spent = int((task / "schedstat").read_text().split()[0]) / 1e6
        if (task / "comm").read_text().strip() == "collector":
            collector += spent
        else:
            others += spent
    return collector, others


def read_pages(port, over):
    """Takes the page of containers each five seconds."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics/containers", headers={"Accept-Encoding": "gzip"})
    took = []
    while not over.wait(5):
        began = time.monotonic()
        with urllib.request.urlopen(request) as answer:
            packed = answer.read()
        took.append(time.monotonic() - began)
    print(
        f"{len(took)} pages of {len(gzip.decompress(packed))} bytes, {len(packed)} in gzip; "
        f"ms until one is read: median {1e3 * statistics.median(took):.0f}"
    )


def measure(binary, root, given, peaks, reader):
    containers, rounds = given.containers, given.rounds
    state = tempfile.mkdtemp()
    config = pathlib.Path(state, "plimsoll.yaml")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config.write_text(CONFIG.format(root=root, port=port, state=pathlib.Path(state, "data")) + PEAKS * peaks)
    log = open(pathlib.Path(state, "log"), "w")
    program = subprocess.Popen([binary, "run", "--config", config], stdin=subprocess.DEVNULL, stderr=log)
    over = threading.Event()
    reading = threading.Thread(target=read_pages, args=[port, over])
    try:
        time.sleep(15)
        if reader:
            reading.start()
        time.sleep(15)
        before, spent = processor_ms(program.pid), []
        began = time.monotonic()
        for number in range(1, rounds + 1):
            time.sleep(max(0.0, began + 5 * number - time.monotonic()))
            now = processor_ms(program.pid)
            spent.append([now[0] - before[0], now[1] - before[1]])
            before = now
        if not any(map(sum, spent)):
            raise SystemExit("the program did not run at all: it was stopped, or ended; see " + log.name)
        for name, figures in zip(["collector", "all the rest"], zip(*spent)):
            mean, least, median = statistics.mean(figures), min(figures), statistics.median(figures)
            print(
                f"{name}: {mean / 50:.2f} % of a core; us per container in 5 s: "
                f"least {1e3 * least / containers:.1f}, median {1e3 * median / containers:.1f}"
            )
        proc = pathlib.Path("/proc", str(program.pid))
        rss = next(line for line in (proc / "status").read_text().splitlines() if line.startswith("VmRSS"))
        print(rss, len(list((proc / "fd").iterdir())), "open files")
    finally:
        over.set()
        if reader:
            reading.join()
        program.send_signal(signal.SIGTERM)
        program.wait()


def compare(given, root):
    for binary in given.binaries:
        for peaks, reader in [(False, False)] + [(True, False)] * given.peaks + [(False, True)] * given.reader:
            how = ", sampled each second" * peaks + ", with a reader of pages" * reader
            print(f"{binary}, {given.containers} containers, {given.busy} of them busy{how}:", flush=True)
            measure(binary, root, given, peaks, reader)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("binaries", nargs="+")
    arguments.add_argument("--containers", type=int, default=500)
    arguments.add_argument("--busy", type=int, default=0)
    arguments.add_argument("--root")
    arguments.add_argument("--tree", action="store_true")
    arguments.add_argument("--peaks", action="store_true")
    arguments.add_argument("--reader", action="store_true")
    arguments.add_argument("--rounds", type=int, default=12)
    given = arguments.parse_args()
    if given.root:
        return compare(given, given.root)
    if given.tree:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            root = pathlib.Path(folder)
            plant(root, given.containers)
            children = stir(root, given.busy)
            try:
                return compare(given, root)
            finally:
                end(children)
    view, children = pathlib.Path(tempfile.mkdtemp()), []
    try:
        make(given.containers, view)
        children = busy(view, given.busy)
        compare(given, view)
    finally:
        end(children)
        remove(view)


main()
