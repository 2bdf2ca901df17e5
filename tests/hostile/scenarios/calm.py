"""Nobody is killed but what runs in containers."""

import contextlib
import pathlib

CGROUPS = pathlib.Path("/sys/fs/cgroup")


def quiet(stage):
    """First processes in loops under each restart policy, and children: one, many, side by side."""
    stage.run("loop", "sleep:200 eat", restart="always")
    stage.run("slow", "sleep:1500 eat:20", restart="always")
    stage.run("gives-up", "sleep:300 eat", restart="on-failure:3")
    stage.run("one", "sleep:2000 child hang")
    stage.run("twenty", "sleep:1000 children:20:0 hang")
    stage.run("spread", "sleep:1000 children:20:300 hang")
    stage.run("side-by-side", "sleep:3000 together:2 hang")
    stage.run("mixed", "random:0:3000 child random:0:4000 eat", restart="always")
    stage.pause(12)
    stage.stop("loop", "slow", "mixed")


def reasons(stage):
    """Each way to end by hand, and ends by themselves or by the kernel shortly after a child's kill."""
    for name, words in [("restarted", "hang"), ("polite", "polite:200 hang"), ("deaf", "hang"), ("killed", "hang")]:
        stage.run(name, words)
    stage.run("asked", "polite:100 hang")
    stage.run("removed", "hang")
    stage.pause(2)
    stage.beside(lambda: stage.act("restarted", "restart?t=1"), lambda: stage.stop("polite", "deaf"))()
    stage.signal("killed", "KILL")
    stage.signal("asked", "TERM")
    stage.remove("removed")
    by_hand = {"restarted": "stop", "polite": "stop", "deaf": "stop", "killed": "kill", "asked": "stop", "removed": "kill"}
    alone = [
        ("child exit:1", "crash"),
        ("child exit:0", "exit"),
        ("together:3 exit:9", "crash"),
        ("child sleep:50 eat", "oom"),
        ("child sleep:900 eat", "oom"),
        ("child sleep:4500 eat", "oom"),
        ("children:5:400 eat", "oom"),
    ]
    for number, (words, reason) in enumerate(alone):
        stage.run(f"alone-{number}", f"sleep:700 {words}")
        stage.ended(f"alone-{number}", reason)
    for name, reason in by_hand.items():
        stage.ended(name, reason)
    stage.pause(5)


def bursts(stage):
    """Children's kills that the kernel's count has shown, and then the first process is killed, or ends."""
    ends = [(3, 100, 7000, "eat"), (5, 0, 8000, "eat"), (5, 0, 12000, "eat"), (3, 100, 16000, "eat")]
    ends += [(5, 0, 8000, "child exit:1"), (1, 0, 8000, "eat")]
    for number, (count, gap, pause, end) in enumerate(ends):
        stage.run(f"burst-{number}", f"sleep:2500 children:{count}:{gap} sleep:{pause} {end}")
    stage.pause(20)


def quick_loops(stage):
    """Started again as soon as it was killed, by hand and by Docker: several runs within a second."""
    stage.create("by-hand", "sleep:50 eat")
    stage.create("at-once", "random:0:30 eat")

    def go_on(name):
        for _ in range(20):
            stage.cycle(name)

    join = stage.beside(lambda: go_on("by-hand"), lambda: go_on("at-once"))
    for number in range(8):
        stage.run(f"by-docker-{number}", "eat", restart="on-failure:2")
        stage.pause(0.3)
    join()
    stage.pause(3)


def paused(stage):
    """Containers that are paused among their children's kills, and kills of what was put into them."""
    stage.run("paused", "random:1300:2500 child loop")
    stage.run("entered", "obey")
    for number in range(6):
        stage.pause(0.3, 2)
        stage.act("paused", "pause")
        stage.pause(0.2, 6 if number % 3 == 0 else 1)
        if number == 3:
            stage.plimsolls.restart()
        stage.act("paused", "unpause")
        stage.execute("entered", f"children:{stage.random.randint(1, 3)}:{stage.random.choice([0, 100])}")
    stage.stop("paused")


def parent_full(stage):
    """A cgroup above the containers is full: Docker tells of the kill for each of them, the kernel for one."""
    parent = f"{stage.show.token}-parent"
    is_v1 = not (CGROUPS / "cgroup.controllers").exists()
    folder = (CGROUPS / "memory" if is_v1 else CGROUPS) / parent
    folder.mkdir()
    (folder / ("memory.limit_in_bytes" if is_v1 else "memory.max")).write_text("40m")
    try:
        among_neighbours(stage, f"/{parent}")
        stage.check()
        # A run that ends sooner has no reading that rules Docker's last word out (docs/configuration.md).
        stage.pause(8)
        for name in ["neighbour-0", "neighbour-1", "eater"]:
            stage.act(name, "kill")
            stage.wait(name)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


def among_neighbours(stage, parent):
    for number in range(2):
        stage.run(f"neighbour-{number}", "hang", memory_mib=64, parent=parent)
    stage.run("eater", "obey", memory_mib=64, parent=parent)
    stage.pause(7)
    for number in range(3):
        stage.execute("eater", f"children:{stage.random.choice([1, 2, 3])}:{stage.random.choice([0, 300])}")
        stage.pause(2, 6)
        if number == 1:
            stage.plimsolls.restart(waits=True)
            stage.pause(6)
    stage.signal("eater", "USR1")
    stage.wait("eater")
    stage.pause(2)
    stage.start("eater")
